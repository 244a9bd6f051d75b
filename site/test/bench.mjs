// Measures verifyHistory in Chromium beside WebCrypto, in one run:
//
//   go run ./site/build && node site/test/bench.mjs [MEASUREMENT…]
//
// with the names of some measurements: small, large, refusals, many, node, cold, tasks; or all.
//
// All is CPU time, the least of many runs: what all threads of the browser took, from
// /proc. It says what there is to do, whatever else the machine does meanwhile. A speed
// is what so many cores as there are workers give when they do nothing else. The
// pipeline is what is not spent in examining: reading files, copying, framing, linking,
// and the page; so many percent of all. Examining alone is measured in turn with it: a
// machine that others use, too, is faster in one minute than in another.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { close, dist, open, serve } from "./browser.mjs";
import { car, checkpoints } from "./life.mjs";
import { tarOf } from "./tar.mjs";
import { zipOf } from "./zips.mjs";

/** A life as a CAR, each state of one byte many times over, and each checkpoint changed after it was signed. */
const life = (n, stateSize, change = () => {}) =>
  car(checkpoints(n, (i) => ({ state: Buffer.alloc(stateSize, i & 0xff) })).map((checkpoint) => (change(checkpoint), checkpoint)));

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
const histories = {
  small: { n: 10_000, state: 1 << 10 },
  large: { n: 200, state: 1 << 20 },
  hundred: { n: 100, state: 1 << 10 },
  "bad-signatures": { n: 2000, state: 1 << 10, change: (checkpoint) => checkpoint[145]++ },
  unparsable: { n: 10_000, state: 1 << 10, change: (checkpoint) => (checkpoint[0] = 9) },
};
/** The file of a history, made when it is first wanted. */
async function history(name) {
  const path = join(dir, `${name}.car`);
  const { n, state, change } = histories[name];
  if (!existsSync(path)) await writeFile(path, life(n, state, change));
  return path;
}

/** How often a measurement is repeated: what five threads do together comes to its least rarely. */
const runs = 20;

const asked = process.argv.slice(2);
/** Whether a measurement is wanted. */
const wanted = (name) => asked.length === 0 || asked.includes(name);

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
  "/site/": `${dist}/site`,
});
const page = await open(context, server.url + "/page");
await page.waitForFunction(() => "verifyHistory" in window);
/** Prints a row: what, how fast, and more about it. */
const print = (row) => console.log(row.filter(Boolean).join(" | "));

/** The CPU time of what f does, by kind: that of the run that takes least of all, or of what is given. */
async function least(f, kind = "all", first = () => {}) {
  let best = { [kind]: Infinity };
  for (let i = 0; i < runs; i++) {
    await first();
    const before = threads();
    await f();
    const spent = since(before);
    if (spent[kind] < best[kind]) best = spent;
  }
  return best;
}

/** Verifies a history with so many workers, each time after something else was done. */
async function verifyWith(workers, name, verdict, first = () => {}) {
  await page.evaluate(async (workers) => {
    configure({ workers });
    await verifierVersion();
  }, workers);
  await page.locator("input").setInputFiles(await history(name));
  let longest = 0;
  const cpu = await least(async () => {
    const run = await page.evaluate(timed);
    longest = Math.max(longest, run.longest);
    if (run.verdict !== verdict) throw new Error(run.verdict);
  }, "all", first);
  return { cpu, longest };
}

for (const name of ["small", "large"].filter(wanted)) {
  const { n, state } = histories[name];
  const speed = (ms) => (name === "small" ? `${Math.round((n / ms) * 1000)} checkpoints/s` : `${Math.round((n * state) / 1e3 / ms)} MB/s`);
  const webCrypto = await least(() => page.evaluate(async ([n, size]) => {
    const { publicKey, privateKey } = await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
    const message = new Uint8Array(size + 145);
    const signature = await crypto.subtle.sign("Ed25519", privateKey, message);
    for (let i = 0; i < n; i++) {
      if (!(await crypto.subtle.verify("Ed25519", publicKey, signature, message))) throw new Error("not verified");
      await crypto.subtle.digest("SHA-256", message);
    }
  }, [n, state]));
  print([`${name}: WebCrypto, verify and SHA-256, one after the other`, speed(webCrypto.all)]);
  await page.locator("input").setInputFiles(await history(name));
  const reading = await least(() => page.evaluate(async () => {
    const body = (window.body = document.querySelector("input").files[0].stream()); // else it may be collected, and its read never ends
    const reader = body.getReader({ mode: "byob" });
    for (let buffer = new ArrayBuffer(1 << 20); ; ) {
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (done) break;
      buffer = value.buffer;
    }
  }));
  // An instance of the same WASM on the page, without anything around it.
  await page.evaluate(load);
  for (const workers of [1, 2]) {
    let bare = { page: Infinity }; // the least of as many runs as there are of the rest
    const { cpu, longest } = await verifyWith(workers, name, "verified", async () => {
      const before = threads();
      await page.evaluate(() => window.examineAll());
      const spent = since(before);
      if (spent.page < bare.page) bare = spent;
    });
    print([`${name}: examine alone`, speed(bare.page), `reading the file alone takes ${Math.round((reading.all / bare.page) * 100)}% of that`]);
    print([
      `${name}: verifyHistory, ${workers} worker(s)`,
      speed(cpu.all / workers),
      `${((workers * webCrypto.all) / cpu.all).toFixed(2)} times WebCrypto`,
      `CPU ${Object.entries(cpu).map(([kind, ms]) => `${kind} ${Math.round(ms)} ms`).join(", ")}; pipeline ${Math.round((1 - bare.page / cpu.all) * 100)}%, of it reading ${Math.round((reading.all / cpu.all) * 100)}%`,
      `longest task over 50 ms: ${longest ? `${Math.round(longest)} ms` : "none"}`,
    ]);
  }
  await page.evaluate(() => delete window.examineAll);
}

const perCheckpoint = async (name, verdict) => (await verifyWith(2, name, verdict)).cpu.all / histories[name].n;
if (wanted("refusals")) {
  const good = await perCheckpoint("small", "verified");
  for (const name of ["bad-signatures", "unparsable"]) {
    print([`${name}: verifyHistory, 2 workers`, `${((await perCheckpoint(name, "invalid")) / good).toFixed(2)} times the cost of good checkpoints`]);
  }
}

// A report with 100,000 problems.
if (wanted("many")) {
  await page.evaluate(() => configure({}));
  await page.evaluate(() => Object.defineProperty(document.querySelector("input"), "files", {
    value: Array.from({ length: 100_000 }, (_, i) => ({ name: `${i}.ckpt`, bytes: Uint8Array.of(4, i & 0xff, (i >> 8) & 0xff, i >> 16) })),
  }));
  const many = await page.evaluate(timed);
  print(["100,000 files with a problem each", `longest task over 50 ms: ${many.longest ? `${Math.round(many.longest)} ms` : "none"}`]);
}

if (wanted("node")) {
  const { stdout } = spawnSync("node", ["--input-type=module", "--eval", `
    import { verifyHistory } from ${JSON.stringify(pathToFileURL(join(dist, "npm/node.js")).href)};
    function* items() {
      for (let i = 0; i < 1e6; i++) yield { name: i + ".ckpt", bytes: Uint8Array.of(4, i & 0xff, (i >> 8) & 0xff, i >> 16) };
    }
    const { problems } = await verifyHistory(items());
    console.log(problems.length + " problems, at most " + Math.round(process.resourceUsage().maxRSS / 1024) + " MiB");
  `], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  print(["1,000,000 files with a problem each, in Node", stdout.trim()]);
}

if (wanted("cold")) {
  const cold = await open(context, server.url + "/empty");
  await cold.locator("input").setInputFiles(await history("hundred"));
  const first = await cold.evaluate(async () => {
    const start = performance.now();
    const { verifyHistory } = await import("/npm/index.js");
    await verifyHistory(document.querySelector("input").files);
    return performance.now() - start;
  });
  print(["100 checkpoints, from a page without the verifier", `${Math.round(first)} ms`, ""]);
}

/**
 * The longest task of the page's thread while f runs, in CPU time and by the clock, in milliseconds. What
 * a visitor notices is the clock's; on a machine that does other things too, that is of these as well.
 * Of a task, a part is the browser's own: to make the list of a chosen folder's files is one task of it.
 */
async function longestTask(page, f) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await session.send("Tracing.start", { traceConfig: { includedCategories: ["toplevel", "v8", "v8.execute", "__metadata"] }, transferMode: "ReportEvents" });
  await f();
  const complete = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await complete;
  await session.detach();
  const renderers = events.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain");
  const named = (pattern) => events.filter(({ name, pid, tid, dur }) => dur && pattern.test(name) && renderers.some((main) => main.pid === pid && main.tid === tid));
  const [tasks, scripts] = [named(/RunTask$/), named(/^v8\.(callFunction|run)$|RunMicrotasks$/)];
  if (tasks.length === 0 || scripts.length === 0) throw new Error("the trace has no tasks");
  const over = tasks.filter(({ tdur }) => tdur > 50_000).length;
  const longest = (some) => some.reduce((most, { tdur = 0 }) => Math.max(most, tdur), 0) / 1000;
  return { cpu: longest(tasks), script: longest(scripts), clock: Math.max(...tasks.map(({ dur }) => dur)) / 1000, over };
}

if (wanted("tasks")) {
  const many = 100_000;
  const good = checkpoints(10_000, (i) => ({ state: Buffer.alloc(100, i) })).map((data, i) => ({ name: `life/${String(i).padStart(10, "0")}.ckpt`, data }));
  const bad = Array.from({ length: many }, (_, i) => ({ name: `life/${i}.ckpt`, data: Buffer.of(4, i & 0xff, (i >> 8) & 0xff, i >> 16) }));
  const deep = good.slice(0, 2000).map(({ name, data }, i) => ({ name: `${"a/".repeat(i % 100)}${name}`, data }));
  await mkdir(join(dir, "life"));
  for (const { name, data } of good) await writeFile(join(dir, name), data);
  const inputs = {
    "10,000 files in a zip": ["life.zip", zipOf(good.map((entry) => ({ ...entry, method: 8 })))],
    "10,000 files in a tar.gz": ["life.tar.gz", gzipSync(tarOf(good))],
    "2,000 files in up to 100 folders in a zip": ["deep.zip", zipOf(deep)],
    "60,000 files with a problem each in a zip": ["bad.zip", zipOf(bad.slice(0, 60_000))],
    "100,000 files with a problem each in a tar.gz": ["bad.tar.gz", gzipSync(tarOf(bad))],
    "10,000 checkpoints in a CAR": [basename(await history("small"))],
    "a folder of 10,000 files": [],
  };
  const site = await open(context, `${server.url}/site/`);
  for (const [what, [name, bytes]] of Object.entries(inputs)) {
    if (bytes) await writeFile(join(dir, name), bytes);
    const runs = [];
    for (let i = 0; i < 2; i++) {
      await site.goto(`${server.url}/site/`);
      await site.waitForTimeout(500);
      runs.push(await longestTask(site, async () => {
        await site.locator(name ? "#files" : "#folder").setInputFiles(join(dir, name ?? "life"));
        await site.locator("#verdict").waitFor({ timeout: 300_000 });
        await site.waitForTimeout(300);
      }));
    }
    const { cpu, script, clock, over } = runs.sort((a, b) => a.cpu - b.cpu)[0];
    print([
      `the page, ${what}`,
      `longest task ${Math.round(cpu)} ms of CPU, ${Math.round(clock)} ms by the clock`,
      `longest of the page's own scripts ${Math.round(script)} ms of CPU`,
      `${over} tasks over 50 ms of CPU`,
    ]);
  }
}

for (const cleanup of cleanups.reverse()) await cleanup();
await rm(dir, { recursive: true, force: true });
await close();
