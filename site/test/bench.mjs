// Measures verifyHistory in Chromium beside igor-verify and WebCrypto, in one run:
//
//   go run ./site/build && node site/test/bench.mjs

import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { close, dist, open, serve } from "./browser.mjs";
import { igorVerify } from "./vectors.mjs";

const cidPrefix = Buffer.from([0x01, 0x55, 0x12, 0x20]);

/** Writes a verified life as a CAR. */
function life(n, stateSize) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const key = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const blocks = [];
  let previous = Buffer.alloc(32);
  for (let i = 0; i < n; i++) {
    const c = Buffer.alloc(209 + stateSize, i & 0xff);
    c.fill(0, 0, 209);
    c[0] = 4;
    c.writeBigInt64LE(1_000_000n, 1);
    c.writeBigUInt64LE(BigInt(i + 1), 17);
    previous.copy(c, 81);
    key.copy(c, 113);
    sign(null, Buffer.concat([c.subarray(0, 145), c.subarray(209)]), privateKey).copy(c, 145);
    previous = createHash("sha256").update(c).digest();
    const length = [];
    let size = c.length + 36;
    for (; size >= 0x80; size = Math.floor(size / 0x80)) length.push((size & 0x7f) | 0x80);
    blocks.push(Buffer.from([...length, size]), cidPrefix, previous, c);
  }
  const header = Buffer.concat([Buffer.from("3aa265726f6f747381d82a582500", "hex"), cidPrefix, previous, Buffer.from("6776657273696f6e01", "hex")]);
  return Buffer.concat([header, ...blocks]);
}

/** What a test's context is to the harness. */
const cleanups = [];
const context = { after: (f) => cleanups.push(f), test: () => {} };

const dir = await mkdtemp(join(tmpdir(), "igor-bench-"));
const histories = { small: { n: 10_000, state: 1 << 10 }, large: { n: 200, state: 1 << 20 }, hundred: { n: 100, state: 1 << 10 } };
for (const [name, { n, state }] of Object.entries(histories)) await writeFile(join(dir, `${name}.car`), life(n, state));

const server = await serve(context, {
  "/page": `<!doctype html><html lang="en"><title>bench</title><input type="file" multiple><script type="module" src="/page.js"></script>`,
  "/page.js": `import * as verifier from "/npm/index.js"; Object.assign(window, verifier);`,
  "/empty": `<!doctype html><html lang="en"><title>bench</title><input type="file">`,
  "/npm/": `${dist}/npm`,
});
const page = await open(context, server.url + "/page");
await page.waitForFunction(() => "verifyHistory" in window);
const verify = await igorVerify(context, await page.evaluate(() => verifierVersion()));
const rows = [];

for (const [name, { n, state }] of [["small", histories.small], ["large", histories.large]]) {
  const file = join(dir, `${name}.car`);
  await page.locator("input").setInputFiles(file);
  const speed = (ms) => (name === "small" ? `${Math.round((n / ms) * 1000)} checkpoints/s` : `${Math.round((n * state) / 1e3 / ms)} MB/s`);
  for (const workers of [1, 2]) {
    const { ms, longest } = await page.evaluate(async (workers) => {
      configure({ workers });
      await verifierVersion();
      let longest = 0;
      const observer = new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
      });
      observer.observe({ type: "longtask" });
      let best = Infinity;
      for (let i = 0; i < 3; i++) {
        const start = performance.now();
        const report = await verifyHistory(document.querySelector("input").files);
        best = Math.min(best, performance.now() - start);
        if (report.verdict !== "verified") throw new Error(report.verdict);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
      observer.disconnect();
      return { ms: best, longest };
    }, workers);
    rows.push([`${name}: verifyHistory, ${workers} worker(s)`, speed(ms), `longest task over 50 ms: ${longest ? `${Math.round(longest)} ms` : "none"}`]);
  }
  for (const procs of ["1", "2"]) {
    process.env.GOMAXPROCS = procs;
    let best = Infinity;
    for (let i = 0; i < 3; i++) {
      const start = performance.now();
      const { exit } = await verify(dir, "--format=json", `${name}.car`);
      best = Math.min(best, performance.now() - start);
      if (exit !== 0) throw new Error(`igor-verify: exit ${exit}`);
    }
    rows.push([`${name}: igor-verify, GOMAXPROCS=${procs}`, speed(best), "with its start"]);
  }
  delete process.env.GOMAXPROCS;
  const ms = await page.evaluate(async (size) => {
    const { publicKey, privateKey } = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const message = new Uint8Array(size + 145);
    const signature = await crypto.subtle.sign("Ed25519", privateKey, message);
    const n = size > 1 << 16 ? 100 : 3000;
    const start = performance.now();
    for (let i = 0; i < n; i++) {
      if (!(await crypto.subtle.verify("Ed25519", publicKey, signature, message))) throw new Error("not verified");
      await crypto.subtle.digest("SHA-256", message);
    }
    return (performance.now() - start) / n;
  }, state).catch(() => undefined);
  rows.push([`${name}: WebCrypto, verify and SHA-256, one after the other`, ms === undefined ? "not in this browser" : speed(ms * n), ""]);
}

const cold = await open(context, server.url + "/empty");
await cold.locator("input").setInputFiles(join(dir, "hundred.car"));
const first = await cold.evaluate(async () => {
  const start = performance.now();
  const { verifyHistory } = await import("/npm/index.js");
  await verifyHistory(document.querySelector("input").files);
  return performance.now() - start;
});
rows.push(["100 checkpoints, from a page without the verifier", `${Math.round(first)} ms`, ""]);

console.table(rows.map(([what, speed, note]) => ({ what, speed, note })));
for (const cleanup of cleanups.reverse()) await cleanup();
await rm(dir, { recursive: true, force: true });
await close();
