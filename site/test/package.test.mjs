// The npm package, as it is published, and its badge in one file.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { close, dist, open, root, serve } from "./browser.mjs";

const run = promisify(execFile);
after(close);

const folder = join(root, dist, "package");
const read = async (name) => JSON.parse(await readFile(join(folder, name), "utf8"));

/** A project that has the package installed. */
async function project(t) {
  const dir = await mkdtemp(join(tmpdir(), "igor-package-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await mkdir(join(dir, "node_modules", "@igor-dev"), { recursive: true });
  await symlink(folder, join(dir, "node_modules", "@igor-dev", "verify"));
  return dir;
}

test("the manifest says what npm shows, and names files that are there", async () => {
  const { name, version, license, repository, homepage, keywords, exports } = await read("package.json");
  assert.deepEqual([name, license, homepage, repository.url], ["@igor-dev/verify", "Apache-2.0", "https://igor.dev", "https://igor.dev"]);
  assert.ok(keywords.length > 5);
  assert.match(await readFile(join(folder, "README.md"), "utf8"), /^# @igor-dev\/verify\n/);
  assert.match(await readFile(join(folder, "LICENSE"), "utf8"), /Apache License/);
  assert.equal((await read("web-types.json")).version, version);
  for (const [entry, target] of Object.entries(exports)) {
    for (const [condition, file] of typeof target === "string" ? [["default", target]] : Object.entries(target)) {
      if (condition === "types" && file.startsWith("./types/") && !existsSync(join(folder, "types", "verify"))) continue; // `npm run types` did not run
      assert.ok(existsSync(join(folder, file)), `${entry} names ${file}`);
    }
  }
});

test("every entry can be imported in Node, where there is no DOM", async (t) => {
  const dir = await project(t);
  const { exports } = await read("package.json");
  const modules = Object.entries(exports).filter(([, target]) => typeof target === "object").map(([entry]) => entry);
  assert.ok(modules.length >= 7);
  await writeFile(
    join(dir, "all.mjs"),
    modules.map((entry) => `await import(${JSON.stringify(join("@igor-dev/verify", entry))});\n`).join("") + `console.log("imported");`,
  );
  assert.equal((await run("node", ["all.mjs"], { cwd: dir })).stdout, "imported\n");
});

test("the package verifies in Node", async (t) => {
  const dir = await project(t);
  const script = `import { verifyHistory } from "@igor-dev/verify";
console.log((await verifyHistory(process.argv[2])).verdict);`;
  await writeFile(join(dir, "verify.mjs"), script);
  const { stdout } = await run("node", ["verify.mjs", join(root, "testdata", "histories", "heartbeat-01")], { cwd: dir });
  assert.equal(stdout, "verified\n");
});

test("editors are told of all that the element has", async (t) => {
  const { modules } = await read("custom-elements.json");
  const declared = modules[0].declarations[0];
  const names = (list) => list.map(({ name }) => name).sort();
  const source = await readFile(join(root, "site/badge/element.ts"), "utf8");
  const observed = /observedAttributes = \[([^\]]+)\]/.exec(source)[1].match(/[\w-]+/g);
  assert.deepEqual(names(declared.attributes), [...observed.filter((name) => name !== "lang"), "state", "identity"].sort());
  const tags = (pattern) => [...source.matchAll(pattern)].flatMap(([, rest]) => rest.trim().split(" ")).sort();
  assert.deepEqual(names(declared.cssParts), tags(/@csspart (.+)/g));
  assert.deepEqual(names(declared.cssProperties), tags(/@cssprop (.+)/g));
  assert.deepEqual(names(declared.events), ["igor-lineage-error", "igor-lineage-report"]);
  const [element] = (await read("web-types.json")).contributions.html.elements;
  assert.deepEqual(names(element.attributes), observed.filter((name) => name !== "lang").sort());
  assert.deepEqual(names(element.css.parts), names(declared.cssParts));
  assert.deepEqual(names(element.css.properties), names(declared.cssProperties));
  // And what they are told of is there.
  const server = await serve(t, { "/page": `<!doctype html><html lang="en"><title>test</title>`, "/npm/": `${dist}/npm` });
  const page = await open(t, server.url + "/page");
  const missing = await page.evaluate(async (members) => {
    const { IgorLineageElement } = await import("/npm/element.js");
    return members.filter((name) => !(name in IgorLineageElement.prototype));
  }, names(declared.members));
  assert.deepEqual(missing, []);
});

test("the badge in one file, from another origin, held to its integrity", async (t) => {
  const single = "igor-lineage.single.js";
  const integrity = (await read("dist/npm/integrity.json"))[single];
  const cdn = await serve(t, { "/npm/": `${dist}/npm` }, { headers: { "access-control-allow-origin": "*" } });
  const policy = `default-src 'none'; script-src ${cdn.url} 'wasm-unsafe-eval'; worker-src blob:; connect-src 'self' ${cdn.url}; require-trusted-types-for 'script'`;
  const page = (hash) => `<!doctype html><html lang="en"><title>test</title>
<script type="module" src="${cdn.url}/npm/${single}" integrity="${hash}" crossorigin="anonymous"></script>
<igor-lineage src="/vectors/car-good/history.car">agent lineage</igor-lineage>`;
  const server = await serve(
    t,
    { "/good": page(integrity), "/other": page(`sha384-${"A".repeat(64)}`), "/vectors/": "testdata/vectors" },
    { headers: { "content-security-policy": policy } },
  );
  const good = await open(t, `${server.url}/good`);
  await good.waitForSelector("igor-lineage[state=verified]");
  assert.ok(good.workers().length > 0, "no worker was started");
  assert.deepEqual(cdn.requests, [`/npm/${single}`, "/npm/igor-verify.wasm"]);
  const other = await open(t, `${server.url}/other`, { expect: [/integrity/] });
  assert.equal(await other.evaluate(() => customElements.get("igor-lineage")), undefined);
});
