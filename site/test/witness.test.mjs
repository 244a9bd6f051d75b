// The vectors of witnesses and fork proofs under js/wasm, through the npm package, and a
// fork proof that is given to the Verify page.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { close, dist, open, root, serve } from "./browser.mjs";

after(close);

const run = promisify(execFile);
const folder = join(root, "testdata/witness");

async function load(kind) {
  const names = (await readdir(folder)).filter((name) => name.startsWith(`${kind}-`));
  assert.ok(names.length > 20, `${names.length} vectors`);
  return Promise.all(names.map(async (name) => ({ name, ...JSON.parse(await readFile(join(folder, name), "utf8")) })));
}

const api = () => import(pathToFileURL(join(root, dist, "npm/node.js")).href);
const bytes = (text) => new Uint8Array(Buffer.from(text, "utf8"));

test("heads: as the vectors say", async () => {
  const { verifyHistory } = await api();
  for (const { name, checkpoints, policy, proof, monitor, word, require, expect } of await load("head")) {
    const items = checkpoints.map((hex, i) => ({ name: `${i}.ckpt`, bytes: new Uint8Array(Buffer.from(hex, "hex")) }));
    const witness = { policy, ...(proof && { proof: bytes(proof) }), ...(monitor && { monitor }), ...(word && { word: bytes(word) }), ...(require && { require }) };
    const report = await verifyHistory(items, { witness });
    assert.equal(report.verdict, expect.exit === 0 ? "verified" : "incomplete", name);
    assert.ok(report.doesNotProve.includes("that the holder never signed another history"), name);
    const seen = report.witnessed;
    assert.equal(Boolean(seen.problem), Boolean(expect.problem), `${name}: ${seen.problem}`);
    if (seen.problem) continue;
    assert.deepEqual(
      { tick: seen.tick, before: seen.before, cosigners: seen.cosigners.map(({ name }) => name), latest: seen.monitor?.latest, forks: seen.monitor?.forks },
      { tick: expect.tick, before: expect.before, cosigners: expect.cosigners, latest: expect.latest, forks: expect.forks },
      name,
    );
  }
});

test("a demand is not turned off by what is not understood", async () => {
  const { verifyHistory } = await api();
  const [{ checkpoints, policy }] = await load("head");
  const items = checkpoints.map((hex, i) => ({ name: `${i}.ckpt`, bytes: new Uint8Array(Buffer.from(hex, "hex")) }));
  for (const witness of [undefined, null, {}, { policy: "" }, { policy, required: true }, { policy, require: "true" }, { policy, monitor: "" }, { policy, proof: "text" }, { policy: "quorum none\n" }, { policy, monitor: "nobody" }]) {
    await assert.rejects(verifyHistory(items, { witness }), undefined, JSON.stringify(witness));
  }
});

test("fork proofs: byte for byte what igor-verify says", async () => {
  const { checkForkProof } = await api();
  const dir = await mkdtemp(join(tmpdir(), "forks-"));
  try {
    const command = join(dir, "igor-verify");
    await run("go", ["build", "-o", command, "./cmd/igor-verify"], { cwd: root });
    for (const { name, file, policy, expect } of await load("fork")) {
      const proof = new Uint8Array(Buffer.from(file, "hex"));
      if (expect.exit === 2) {
        await assert.rejects(checkForkProof(proof, policy), undefined, name);
        continue;
      }
      const report = await checkForkProof(proof, policy);
      assert.equal(report.proven, expect.exit === 0, name);
      assert.equal(report.did, expect.did, name);
      assert.deepEqual(report.sides?.map(({ tick }) => tick), expect.ticks, name);
      const [path, rules] = [join(dir, "proof"), join(dir, "policy")];
      await writeFile(path, proof);
      await writeFile(rules, policy);
      const { stdout } = await run(command, ["fork-proof", "--format", "json", "--witness", rules, path]).catch((error) => error);
      assert.deepEqual(report, JSON.parse(stdout), name);
    }
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("a fork proof that is given to the page", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "forks-"));
  t.after(() => rm(dir, { recursive: true }));
  const give = async (name) => {
    const { file } = JSON.parse(await readFile(join(folder, `${name}.json`), "utf8"));
    const path = join(dir, "evidence.fork-proof");
    await writeFile(path, Buffer.from(file, "hex"));
    const server = await serve(t, { "/": `${dist}/site` });
    const page = await open(t, server.url);
    await page.setInputFiles("#files", path);
    await page.waitForSelector("#verdict");
    return page;
  };
  let page = await give("fork-heads");
  assert.equal(await page.textContent("#verdict"), "This key lived twice");
  const shown = await page.textContent("main");
  for (const text of ["did:key:z6Mk", "tick 19", "no single life has both", "It does not prove"]) assert.ok(shown.includes(text), `${text}: ${shown}`);
  assert.equal(await page.locator(".mark.verified, .mark.yes, .verdict.verified").count(), 0);
  page = await give("fork-heads-forged");
  assert.equal(await page.textContent("#verdict"), "No verdict");
  assert.match(await page.textContent("main"), /not signed by the key/);
});

test("a badge that demands a witness is green with one, and not without", async (t) => {
  const { checkpoints, policy, proof } = (await load("head")).find(({ name }) => name === "head-good-required.json");
  const { car } = await import("./life.mjs");
  const bundle = car(checkpoints.map((hex) => Buffer.from(hex, "hex")));
  const page = (attributes) => `<!doctype html><script type="module" src="/npm/igor-lineage.js"></script><igor-lineage src="life.car" loading="eager" ${attributes}></igor-lineage>`;
  const state = async (files, attributes) => {
    const server = await serve(t, { "/npm/": `${dist}/npm`, ...files, "/index.html": page(attributes) });
    const tab = await open(t, `${server.url}/index.html`, { expect: "/head.tlog-proof" in files || !attributes.includes(".policy") ? [] : [/404/] });
    return tab.evaluate(
      () =>
        new Promise((resolve) => {
          const badge = document.querySelector("igor-lineage");
          badge.addEventListener("igor-lineage-report", ({ report }) => resolve(`${report.verdict} ${report.problems.map(({ code }) => code)}`));
          badge.addEventListener("igor-lineage-error", ({ error }) => resolve(`error: ${error?.message}`));
          badge.refresh = 0;
          badge.verify?.();
        }),
    );
  };
  const give = (content) => (_, response) => response.end(content);
  const files = { "/life.car": give(bundle), "/rules.policy": give(policy) };
  assert.equal(await state({ ...files, "/head.tlog-proof": give(proof) }, 'require-witness="rules.policy"'), "verified ");
  assert.equal(await state(files, 'require-witness="rules.policy"'), "incomplete not-witnessed");
  assert.match(await state(files, 'require-witness=""'), /require-witness has no value/);
  assert.equal(await state(files, ""), "verified ");
});

test("a badge that asks again sees a proof that comes, goes, or is another one", async (t) => {
  const { checkpoints, policy, proof } = (await load("head")).find(({ name }) => name === "head-good-required.json");
  const { car } = await import("./life.mjs");
  const there = { "/life.car": car(checkpoints.map((hex) => Buffer.from(hex, "hex"))), "/rules.policy": policy };
  const unchanged = new Map();
  const give = (name) => (request, response) => {
    const content = there[name];
    if (content === undefined) return response.writeHead(404).end();
    const etag = `"${createHash("sha256").update(content).digest("hex")}"`;
    response.setHeader("etag", etag);
    if (request.headers["if-none-match"] !== etag) return response.end(content);
    unchanged.set(name, (unchanged.get(name) ?? 0) + 1);
    response.writeHead(304).end();
  };
  const badge = `<!doctype html><script type="module" src="/npm/igor-lineage.js"></script><igor-lineage src="life.car" loading="eager" refresh="0.2" require-witness="rules.policy"></igor-lineage>`;
  const names = ["/life.car", "/rules.policy", "/head.tlog-proof"];
  const server = await serve(t, { "/npm/": `${dist}/npm`, ...Object.fromEntries(names.map((name) => [name, give(name)])), "/index.html": badge });
  const page = await open(t, `${server.url}/index.html`, { expect: [/404/] });
  await page.evaluate(() => {
    window.reports = 0;
    document.addEventListener("igor-lineage-report", () => window.reports++);
  });
  const asks = async () => {
    const before = unchanged.get("/life.car") ?? 0;
    while ((unchanged.get("/life.car") ?? 0) < before + 3) await page.waitForTimeout(50);
  };
  await page.waitForSelector("igor-lineage[state=incomplete]");
  await asks();
  assert.ok((await page.evaluate(() => window.reports)) <= 1, "what did not change was verified again");
  there["/head.tlog-proof"] = proof;
  await page.waitForSelector("igor-lineage[state=verified]");
  const reports = await page.evaluate(() => window.reports);
  await asks();
  assert.equal(await page.evaluate(() => window.reports), reports, "what did not change was verified again");
  there["/head.tlog-proof"] = proof.replace(/.$/m, "A");
  await page.waitForSelector("igor-lineage[state=incomplete]");
  there["/head.tlog-proof"] = proof;
  await page.waitForSelector("igor-lineage[state=verified]");
  delete there["/rules.policy"];
  await page.waitForSelector("igor-lineage[state=error]");
});

test("a policy that has no end, or cannot be had, is an error", async (t) => {
  let [sent, closed, refused] = [0, 0, 0];
  const endless = (_, response) => {
    response.on("close", () => closed++);
    const more = () => {
      while (sent < 256 << 20 && response.write(Buffer.alloc(64 << 10))) sent += 64 << 10;
      if (sent >= 256 << 20) response.end();
    };
    response.on("drain", more);
    more();
  };
  const elsewhere = await serve(t, { "/rules.policy": (_, response) => (refused++, response.end("log x")) });
  const away = (_, response) => response.writeHead(302, { location: `${elsewhere.url}/rules.policy` }).end();
  const badges = ["endless", "away"].map((name) => `<igor-lineage src="/vectors/car-good/history.car" require-witness="${name}.policy"></igor-lineage>`);
  const server = await serve(t, { "/npm/": `${dist}/npm`, "/vectors/": "testdata/vectors", "/endless.policy": endless, "/away.policy": away, "/index.html": `<!doctype html><script type="module" src="/npm/igor-lineage.js"></script>${badges.join("")}` });
  const page = await open(t, `${server.url}/index.html`, { expect: [/CORS/, /ERR_FAILED/] });
  await page.waitForFunction(() => [...document.querySelectorAll("igor-lineage")].every(({ state }) => state === "error"));
  const errors = await page.evaluate(() => [...document.querySelectorAll("igor-lineage")].map(({ error }) => [error.code, error.path.split("/").at(-1)]));
  assert.deepEqual(errors, [["too-large", "endless.policy"], ["unreadable", "away.policy"]]);
  assert.equal(refused, 3); // tried again, twice
  while (closed < 1) await page.waitForTimeout(20);
  assert.ok(sent < 64 << 20, `${sent} bytes were read of what may have 256 KiB`);
});
