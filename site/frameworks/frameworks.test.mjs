// The guides of docs/frameworks.md, as somebody follows them: the package is packed
// and installed, each guide's files are written into an empty folder, built with
// the guide's tools, and opened in a browser.
//
//   go run ./site/build && npm run types && node --test site/frameworks/frameworks.test.mjs

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { close, dist, open, root, serve } from "../test/browser.mjs";

const run = promisify(execFile);
after(close);

const here = join(root, "site", "frameworks");
const work = join(root, dist, "frameworks");
const installed = join(work, "node_modules", "@igor-dev", "verify");
const installed18 = join(work, "react18", "node_modules", "@igor-dev", "verify");
const history = join(root, "testdata", "vectors", "car-good", "history.car");
const did = "did:key:z6MknTqAWs1xa4Z81VAXdUSpFKx5BhWC1QNLaWaKu511bwgk";

before(async () => {
  await mkdir(join(work, "react18"), { recursive: true });
  const files = ["package.json", "package-lock.json", "react18/package.json"];
  const [wanted, there] = await Promise.all([here, work].map((dir) => Promise.all(files.map((file) => readFile(join(dir, file), "utf8").catch(() => "")))));
  if (String(wanted) !== String(there)) {
    for (const file of files) await cp(join(here, file), join(work, file));
    await run("npm", ["ci", "--no-audit", "--no-fund"], { cwd: work });
  }
  // As npm installs it: from the archive that is published.
  const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", work, join(root, dist, "package")], { cwd: work });
  const [{ filename }] = JSON.parse(stdout);
  for (const folder of [installed, installed18]) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await run("tar", ["-xzf", join(work, filename), "-C", folder, "--strip-components=1"]);
  }
});

/** Writes a guide's files, each of which the guide calls by its path, into a folder of their own. */
async function follow(guide, folder = guide.toLowerCase()) {
  const text = await readFile(join(root, "docs", "frameworks.md"), "utf8");
  const section = text.split(/^## /m).find((section) => section.startsWith(`${guide}\n`));
  const files = [...section.matchAll(/^`([^`\n]+)`:\n\n```\w+\n([^]*?)^```$/gm)];
  assert.ok(files.length > 0, `no files in the guide for ${guide}`);
  const dir = join(work, folder);
  await rm(dir, { recursive: true, force: true });
  for (const [, path, content] of files) {
    await mkdir(dirname(join(dir, path)), { recursive: true });
    await writeFile(join(dir, path), content.replaceAll("did:key:z6Mk…", did));
  }
  await mkdir(join(dir, "public", "agents"), { recursive: true });
  await cp(history, join(dir, "public", "agents", "heartbeat.car"));
  await writeFile(join(dir, "public", "favicon.ico"), ""); // the browser's own wish
  return dir;
}

/** What a browser shows of a page that was built. */
async function verified(t, url, options) {
  const page = await open(t, url, options);
  await page.waitForSelector("igor-lineage[state=verified][identity=pinned]", { timeout: 60_000 });
  assert.ok(page.workers().length > 0, "no worker was started");
  return page;
}

/** Imports what is installed in the work folder, or was written there. */
const load = (...path) => import(pathToFileURL(join(work, ...path)));

/** What a guide's project is for Vite. */
async function project(dir) {
  const { default: config } = await import(pathToFileURL(join(dir, "vite.config.js")));
  return { ...config, configFile: false, root: dir, logLevel: "warn", cacheDir: join(dir, ".vite") };
}

/** Builds with Vite, and returns the folder to serve. */
async function built(dir) {
  const { build } = await load("node_modules", "vite", "dist", "node", "index.js");
  await build(await project(dir));
  return join(dir, "dist").slice(root.length + 1);
}

const html = (script) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>test</title><div id="root"></div><script type="module" src="${script}"></script>`;

test("plain HTML", async (t) => {
  const dir = await follow("Plain HTML", "html");
  await cp(join(installed, "dist", "npm"), join(dir, "public", "igor"), { recursive: true });
  const server = await serve(t, { "/": join(dir, "public").slice(root.length + 1) });
  await verified(t, server.url + "/");
});

for (const [guide, script] of [["React", "/src/main.tsx"], ["Vue", "/src/main.js"], ["Svelte", "/src/main.js"]]) {
  test(`${guide}, built by Vite and by its development server`, async (t) => {
    const dir = await follow(guide);
    await writeFile(join(dir, "index.html"), html(script));
    const server = await serve(t, { "/": await built(dir) });
    const page = await verified(t, server.url + "/");
    if (guide !== "React") assert.equal(await page.textContent("output"), "verified");
    const { createServer } = await load("node_modules", "vite", "dist", "node", "index.js");
    const development = await createServer({ ...(await project(dir)), logLevel: "silent", server: { host: "localhost", port: 0 } });
    await development.listen();
    t.after(() => development.close());
    await verified(t, development.resolvedUrls.local[0]);
  });
}

test("React 18, built by Vite", async (t) => {
  const dir = await follow("React", "react18/app");
  await writeFile(join(dir, "index.html"), html("/src/main.tsx"));
  assert.match(await readFile(join(work, "react18", "node_modules", "react", "package.json"), "utf8"), /"version": "18\./);
  const server = await serve(t, { "/": await built(dir) });
  await verified(t, server.url + "/");
});

for (const [guide, file, script] of [["React", "main.tsx", "/src/main.tsx"], ["Vue", "App.vue", "/src/main.js"], ["Svelte", "App.svelte", "/src/main.js"]]) {
  test(`${guide} says when a binding comes to nothing`, async (t) => {
    const dir = await follow(guide, `${guide.toLowerCase()}-unbound`);
    const path = join(dir, "src", file);
    const text = await readFile(path, "utf8");
    const unbound = text.replace(`did="${did}"`, "did={(globalThis as any).nothing}").replace(`const did = "${did}"`, "const did = globalThis.nothing");
    assert.notEqual(unbound, text);
    await writeFile(path, unbound);
    await writeFile(join(dir, "index.html"), html(script));
    const server = await serve(t, { "/": await built(dir) });
    const page = await open(t, server.url + "/");
    await page.waitForSelector("igor-lineage[state=error]");
    assert.equal(await page.evaluate(() => document.querySelector("igor-lineage").error.code), "bad-pin");
  });
}

test("webpack", async (t) => {
  const dir = await follow("webpack");
  const webpack = createRequire(join(work, "package.json"))("webpack");
  await new Promise((resolve, reject) => {
    webpack({ mode: "production", context: dir, entry: "./src/index.js", output: { path: join(dir, "public"), filename: "main.js" } }, (error, stats) =>
      error || stats.hasErrors() ? reject(error ?? new Error(stats.toString())) : resolve(),
    );
  });
  await writeFile(join(dir, "public", "index.html"), html("/main.js"));
  const server = await serve(t, { "/": join(dir, "public").slice(root.length + 1) });
  await verified(t, server.url + "/");
});

test("Next renders on the server, and the badge verifies in the browser", async (t) => {
  const dir = await follow("Next");
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "production" };
  const next = join(work, "node_modules", "next", "dist", "bin", "next");
  await writeFile(join(dir, "package.json"), `{ "private": true }\n`);
  await run("node", [next, "build"], { cwd: dir, env });
  const server = spawn("node", [next, "start", "--port", "0"], { cwd: dir, env });
  t.after(() => server.kill());
  const url = await new Promise((resolve, reject) => {
    let said = "";
    for (const stream of [server.stdout, server.stderr]) stream.on("data", (data) => {
      said += data;
      const [address] = /http:\/\/localhost:\d+/.exec(said) ?? [];
      if (address && /Ready/.test(said)) resolve(address);
    });
    server.on("exit", () => reject(new Error(said)));
  });
  const text = await (await fetch(url)).text();
  assert.match(text, /The server says: (<!-- -->)?verified/);
  assert.match(text, /<igor-lineage pinned="" src="\/agents\/heartbeat\.car" did="did:key:/);
  await verified(t, url);
});

test("types, with React 18 and 19, and where there is no DOM", async () => {
  const dir = await follow("React", "types");
  const tsc = join(root, "node_modules", ".bin", "tsc");
  const check = (folder, options, files) => run(tsc, ["--noEmit", "--strict", "--ignoreConfig", "--target", "ES2022", "--module", "NodeNext", "--skipLibCheck", "false", ...options, ...files], { cwd: folder });
  const dom = ["--exactOptionalPropertyTypes", "--jsx", "react-jsx", "--lib", "ES2022,DOM,DOM.Iterable,DOM.AsyncIterable"];
  const lineage = await readFile(join(dir, "src", "Lineage.tsx"), "utf8");
  const wrong = {
    "a pinned badge without a did": `<igor-lineage pinned src="x" />`,
    "a misspelt pin": `<igor-lineage src="x" dids="did:key:z6Mk" />`,
    "a did that may be undefined": `<igor-lineage src="x" did={undefined as string | undefined} />`,
  };
  for (const folder of [dir, join(work, "react18", "types")]) {
    await mkdir(join(folder, "src"), { recursive: true });
    await writeFile(join(folder, "package.json"), `{ "type": "module" }\n`);
    await writeFile(join(folder, "src", "Lineage.tsx"), lineage);
    await check(folder, dom, ["src/Lineage.tsx"]).catch((error) => assert.fail(`${folder}: ${error.stdout}`));
    for (const [what, element] of Object.entries(wrong)) {
      await writeFile(join(folder, "src", "wrong.tsx"), `import "@igor-dev/verify/react";\nexport const wrong = ${element};\n`);
      await assert.rejects(check(folder, dom, ["src/wrong.tsx"]), /./, `${what} is accepted in ${folder}`);
    }
  }
  await writeFile(
    join(dir, "server.mts"),
    `import { verifyHistory, VerifyError, type Report } from "@igor-dev/verify";
const report: Report = await verifyHistory("folder", { did: "did:key:z6Mk" });
await verifyHistory([new Uint8Array(), new ArrayBuffer(0), { name: "a.ckpt", bytes: new Uint8Array() }, new URL("https://agent.example/a.car")]);
// @ts-expect-error a misspelt pin
await verifyHistory("folder", { dids: "did:key:z6Mk" });
// @ts-expect-error a pin that is none
await verifyHistory("folder", { did: null });
export { report, VerifyError };
`,
  );
  const types = join(root, "node_modules", "@types");
  await check(dir, ["--lib", "ES2022", "--types", "node", "--typeRoots", types], ["server.mts"]).catch((error) => assert.fail(error.stdout));
});
