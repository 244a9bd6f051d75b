// Measures verifyHistory in Chromium beside igor-verify and WebCrypto, in one run:
//
//   go run ./site/build && node site/test/bench.mjs
//
// A speed is the best of three runs, CPU time the least of them: what all threads of the
// browser took, from /proc; on a machine that does other things too, it says more than
// the clock. The pipeline is what is not spent in examining: reading files, copying,
// framing, linking, and the page; so many percent of what bare examining takes.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { close, dist, open, serve } from "./browser.mjs";
import { car, checkpoints } from "./life.mjs";
import { igorVerify } from "./vectors.mjs";

/** A verified life as a CAR, each state of one byte many times over. */
const life = (n, stateSize) => car(checkpoints(n, (i) => ({ state: Buffer.alloc(stateSize, i & 0xff) })));

/** How long, in milliseconds, each thread of the processes below this one has run, by its kind. */
function threads() {
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      parents.set(pid, readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")[1]);
    } catch {} // it has ended
  }
  const below = (pid) => pid !== undefined && (parents.get(pid) === String(process.pid) || below(parents.get(pid)));
  const found = new Map();
  for (const pid of [...parents.keys()].filter(below)) {
    try {
      const renderer = readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("--type=renderer");
      for (const id of readdirSync(`/proc/${pid}/task`)) {
        const name = readFileSync(`/proc/${pid}/task/${id}/comm`, "utf8");
        const kind = !renderer ? "browser" : id === pid ? "page" : name.startsWith("DedicatedWorker") ? "workers" : "rest of the page's process";
        found.set(id, { kind, ms: Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, "utf8").split(" ")[0]) / 1e6 });
      }
    } catch {}
  }
  return found;
}

/** The CPU time since an earlier call of threads, by kind. */
function since(before) {
  const sum = { all: 0 };
  for (const [id, { kind, ms }] of threads()) {
    const spent = ms - (before.get(id)?.ms ?? 0);
    sum[kind] = (sum[kind] ?? 0) + spent;
    sum.all += spent;
  }
  return sum;
}

/** What a test's context is to the harness. */
const cleanups = [];
const context = { after: (f) => cleanups.push(f), test: () => {} };

const dir = await mkdtemp(join(tmpdir(), "igor-bench-"));
const histories = { small: { n: 10_000, state: 1 << 10 }, large: { n: 200, state: 1 << 20 }, hundred: { n: 100, state: 1 << 10 } };
for (const [name, { n, state }] of Object.entries(histories)) await writeFile(join(dir, `${name}.car`), life(n, state));

const wasmExec = join(execFileSync("go", ["env", "GOROOT"], { encoding: "utf8" }).trim(), "lib/wasm/wasm_exec.js");

/** On the page: prepares examineAll, which examines the blocks of the chosen CAR. */
async function load() {
  if (!window.Go) await import("/wasm_exec.js");
  const go = new Go();
  const { instance } = await WebAssembly.instantiateStreaming(fetch("/npm/igor-verify.wasm"), go.importObject);
  void go.run(instance);
  const { exports } = instance;
  const car = new Uint8Array(await document.querySelector("input").files[0].arrayBuffer());
  const batches = [];
  for (let at = 59, batch = [], bytes = 0; at < car.length; ) {
    let size = 0;
    for (let shift = 0, byte = 0x80; byte >= 0x80; shift += 7) size |= ((byte = car[at++]) & 0x7f) << shift;
    batch.push(car.subarray(at + 36, at + size));
    bytes += size;
    at += size;
    if (bytes < 256 << 10 && at < car.length) continue;
    batches.push(batch);
    [batch, bytes] = [[], 0];
  }
  window.examineAll = () => {
    for (const batch of batches) {
      const total = batch.reduce((sum, { length }) => sum + length, 0);
      let at = exports.reserve(4 * batch.length + total);
      const memory = new Uint8Array(exports.mem.buffer);
      memory.set(new Uint8Array(Uint32Array.from(batch, ({ length }) => length).buffer), at);
      at += 4 * batch.length;
      for (const block of batch) {
        memory.set(block, at);
        at += block.length;
      }
      if (exports.examine(batch.length) < 0) throw new Error("examine failed");
    }
  };
}

/** On the page: verifies what is chosen, and looks for long tasks. */
async function timed() {
  let longest = 0;
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
  });
  observer.observe({ type: "longtask" });
  const start = performance.now();
  const { verdict } = await verifyHistory(document.querySelector("input").files);
  const ms = performance.now() - start;
  await new Promise((resolve) => setTimeout(resolve, 100));
  observer.disconnect();
  return { ms, longest, verdict };
}

const server = await serve(context, {
  "/page": `<!doctype html><html lang="en"><title>bench</title><input type="file" multiple><script type="module" src="/page.js"></script>`,
  "/page.js": `import * as verifier from "/npm/index.js"; Object.assign(window, verifier);`,
  "/wasm_exec.js": (_, response) => response.setHeader("content-type", "text/javascript").end(readFileSync(wasmExec)),
  "/empty": `<!doctype html><html lang="en"><title>bench</title><input type="file">`,
  "/npm/": `${dist}/npm`,
});
const page = await open(context, server.url + "/page");
await page.waitForFunction(() => "verifyHistory" in window);
const verify = await igorVerify(context, await page.evaluate(() => verifierVersion()));
/** Prints a row: what, how fast, and more about it. */
const print = (row) => console.log(row.filter(Boolean).join(" | "));

for (const [name, { n, state }] of [["small", histories.small], ["large", histories.large]]) {
  const file = join(dir, `${name}.car`);
  await page.locator("input").setInputFiles(file);
  const speed = (ms) => (name === "small" ? `${Math.round((n / ms) * 1000)} checkpoints/s` : `${Math.round((n * state) / 1e3 / ms)} MB/s`);
  // An instance of the same WASM on the page, without anything around it.
  await page.evaluate(load);
  let bare = Infinity;
  for (let i = 0; i < 3; i++) {
    const before = threads();
    await page.evaluate(() => window.examineAll());
    bare = Math.min(bare, since(before).page);
  }
  await page.evaluate(() => delete window.examineAll);
  print([`${name}: examine alone, by CPU time`, speed(bare), ""]);
  for (const workers of [1, 2]) {
    await page.evaluate(async (workers) => {
      configure({ workers });
      await verifierVersion();
    }, workers);
    let best = Infinity, cpu = { all: Infinity }, longest = 0;
    for (let i = 0; i < 3; i++) {
      const before = threads();
      const run = await page.evaluate(timed);
      longest = Math.max(longest, run.longest);
      if (run.verdict !== "verified") throw new Error(run.verdict);
      const spent = since(before);
      if (spent.all < cpu.all) cpu = spent;
      best = Math.min(best, run.ms);
    }
    const share = `CPU ${Object.entries(cpu).map(([kind, ms]) => `${kind} ${Math.round(ms)} ms`).join(", ")}; pipeline ${Math.round((cpu.all / bare - 1) * 100)}%`;
    print([`${name}: verifyHistory, ${workers} worker(s)`, speed(best), `${share}; longest task over 50 ms: ${longest ? `${Math.round(longest)} ms` : "none"}`]);
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
    print([`${name}: igor-verify, GOMAXPROCS=${procs}`, speed(best), "with its start"]);
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
  print([`${name}: WebCrypto, verify and SHA-256, one after the other`, ms === undefined ? "not in this browser" : speed(ms * n), ""]);
}

// A report with 100,000 problems.
await page.evaluate(() => configure({}));
await page.evaluate(() => Object.defineProperty(document.querySelector("input"), "files", {
  value: Array.from({ length: 100_000 }, (_, i) => ({ name: `${i}.ckpt`, bytes: Uint8Array.of(4, i & 0xff, (i >> 8) & 0xff, i >> 16) })),
}));
const many = await page.evaluate(timed);
print(["100,000 files with a problem each", `${Math.round(many.ms)} ms`, `longest task over 50 ms: ${many.longest ? `${Math.round(many.longest)} ms` : "none"}`]);

const cold = await open(context, server.url + "/empty");
await cold.locator("input").setInputFiles(join(dir, "hundred.car"));
const first = await cold.evaluate(async () => {
  const start = performance.now();
  const { verifyHistory } = await import("/npm/index.js");
  await verifyHistory(document.querySelector("input").files);
  return performance.now() - start;
});
print(["100 checkpoints, from a page without the verifier", `${Math.round(first)} ms`, ""]);

for (const cleanup of cleanups.reverse()) await cleanup();
await rm(dir, { recursive: true, force: true });
await close();
