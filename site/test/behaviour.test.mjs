import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { close, dist, open, root, serve, strictPolicy } from "./browser.mjs";

after(close);

const routes = {
  "/page": `<!doctype html><html lang="en"><title>test</title><script type="module" src="/page.js"></script>`,
  "/page.js": `import * as verifier from "/npm/index.js"; Object.assign(window, verifier);`,
  "/npm/": `${dist}/npm`,
  "/vectors/": "testdata/vectors",
  "/histories/": "testdata/histories",
};

async function page(t, { more = {}, policy = strictPolicy, ...options } = {}) {
  const server = await serve(t, { ...routes, ...more }, { headers: { "content-security-policy": policy } });
  const page = await open(t, server.url + "/page", options);
  await page.waitForFunction(() => "verifyHistory" in window);
  return { server, page };
}

/** What a promise rejects with. */
const refused = `window.refused = (promise) => promise.then(
  (report) => { throw new Error("there is a verdict: " + report.verdict); },
  ({ name, code, message }) => ({ name, code, message }),
);`;

test("every kind of input gives the same report", async (t) => {
  const { page: p } = await page(t);
  const reports = await p.evaluate(async () => {
    const url = new URL("/vectors/car-good/history.car", location.href);
    const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
    const before = bytes.slice();
    const file = new File([bytes], "life.car");
    const inputs = [
      url,
      file,
      [file],
      new Blob([bytes], { type: "application/vnd.ipld.car" }),
      new Blob([bytes]),
      { name: "x.car", bytes },
      { name: "x.car", bytes: bytes.buffer },
      { name: "x.car", bytes: file.stream() },
      (async function* () {
        yield { name: "x.car", bytes: (async function* () { for (const byte of bytes) yield Uint8Array.of(byte); })() };
      })(),
    ];
    const reports = [];
    for (const input of inputs) reports.push(reportJSON(await verifyHistory(input)));
    if (bytes.some((byte, i) => byte !== before[i]) || bytes.length !== before.length) throw new Error("the caller's bytes were changed");
    return reports;
  });
  assert.equal(reports.length, 9);
  for (const report of reports) assert.equal(report, reports[0]);
  assert.equal(JSON.parse(reports[0]).verdict, "verified");
});

test("a folder that was chosen", async (t) => {
  const { page: p } = await page(t);
  await p.evaluate(() => {
    const input = Object.assign(document.createElement("input"), { type: "file", webkitdirectory: true, id: "folder" });
    document.body.append(input);
  });
  await p.locator("#folder").setInputFiles(join(root, "testdata/histories"));
  const report = await p.evaluate(() => {
    const files = [...document.querySelector("#folder").files];
    return verifyHistory(files.filter((file) => !file.name.endsWith(".ckpt") || file.webkitRelativePath.includes("/liquidation-02/")));
  });
  assert.ok(report.checkpoints > 0);
  const bad = await p.evaluate(() => verifyHistory(document.querySelector("#folder").files));
  assert.equal(bad.verdict, "invalid");
  assert.ok(bad.problems.some(({ name }) => name === "fork-01-merged/0000000020-R.ckpt"));
  await p.evaluate(refused);
  const { code, message } = await p.evaluate(() =>
    window.refused(verifyHistory([...document.querySelector("#folder").files].filter((file) => !file.name.endsWith(".ckpt")))),
  );
  assert.equal(code, "nothing-to-verify");
  assert.match(message, /^histories: no \.ckpt file/);
  const beside = await p.evaluate(() => {
    const other = Object.defineProperty(new File(["x"], "notes"), "webkitRelativePath", { value: "other/notes" });
    const good = [...document.querySelector("#folder").files].filter((file) => file.webkitRelativePath.includes("/liquidation-02/"));
    return Promise.all([[other, ...good], [...good, other]].map((files) => window.refused(verifyHistory(files))));
  });
  assert.equal(beside.length, 2);
  for (const { code, message } of beside) {
    assert.equal(code, "nothing-to-verify");
    assert.match(message, /^other: no \.ckpt file/);
  }
});

test("no verdict", async (t) => {
  const { page: p } = await page(t, { expect: [/404/] });
  await p.evaluate(refused);
  const outcomes = await p.evaluate(async () => ({
    // A server that cuts what nobody asked it to cut.
    part: await refused(verifyHistory(new URL("/part.ckpt", location.href), { fetch: async () => new Response(Uint8Array.of(4, 0, 0), { status: 206 }) })),
    nothing: await refused(verifyHistory([])),
    unreadable: await refused(verifyHistory(new URL("/nowhere.car", location.href))),
    large: await refused(verifyHistory({ name: "large.ckpt", bytes: new Blob([new Uint8Array((64 << 20) + 1)]) })),
    endless: await refused(verifyHistory({ name: "endless.ckpt", bytes: (async function* () { for (;;) yield new Uint8Array(1 << 20); })() })),
    endlessOther: await refused(verifyHistory({ name: "endless", bytes: (async function* () { for (;;) yield new Uint8Array(1 << 20); })() })),
    did: await refused(verifyHistory([], { did: "did:web:example.org" })),
    throws: await refused(verifyHistory((async function* () { throw new TypeError("the caller's own"); })())),
  }));
  assert.deepEqual(Object.fromEntries(Object.entries(outcomes).map(([name, { code }]) => [name, code])), {
    part: "unreadable",
    nothing: "nothing-to-verify",
    unreadable: "unreadable",
    large: "too-large",
    endless: "too-large",
    endlessOther: "nothing-to-verify",
    did: "bad-pin",
    throws: undefined,
  });
  assert.equal(outcomes.throws.message, "the caller's own");
});

test("a report with many problems is read in slices", async (t) => {
  const { page: p } = await page(t);
  const seen = await p.evaluate(async () => {
    const { parse } = JSON;
    let longest = 0;
    JSON.parse = (text, ...rest) => {
      longest = Math.max(longest, text.length);
      return parse(text, ...rest);
    };
    const files = Array.from({ length: 20_000 }, (_, i) => ({ name: `"${i}" \u{1f600}.ckpt`, bytes: Uint8Array.of(4, i & 0xff, i >> 8) }));
    const report = await verifyHistory(files);
    JSON.parse = parse;
    const json = reportJSON(report);
    return { problems: report.problems.length, same: JSON.stringify(report) === JSON.stringify(parse(json)), size: json.length, longest };
  });
  assert.equal(seen.problems, 20_000);
  assert.ok(seen.same);
  assert.ok(seen.size > 3_000_000 && seen.longest < 100_000, JSON.stringify(seen));
});

test("an abort, before and in mid-run, and a run after it", async (t) => {
  const { page: p } = await page(t);
  await p.evaluate(refused);
  const seen = await p.evaluate(async () => {
    const checkpoint = new Uint8Array(1 << 20).fill(4);
    const endless = async function* () { for (let i = 0; ; i++) yield { name: `${i}`, bytes: checkpoint }; };
    const seen = [(await refused(verifyHistory(endless(), { signal: AbortSignal.abort() }))).name];
    const controller = new AbortController();
    let calls = 0;
    const run = verifyHistory(endless(), {
      signal: controller.signal,
      onProgress: () => { if (++calls === 3) controller.abort(new RangeError("enough")); },
    });
    seen.push((await refused(run)).message);
    const hangs = new AbortController();
    setTimeout(() => hangs.abort(), 50);
    seen.push((await refused(verifyHistory({ name: "x", bytes: { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) } }, { signal: hangs.signal }))).name);
    seen.push((await verifyHistory(new URL("/vectors/car-good/history.car", location.href))).verdict);
    return seen;
  });
  assert.deepEqual(seen, ["AbortError", "enough", "AbortError", "verified"]);
});

test("two hundred runs at once, some of which never end and are aborted", async (t) => {
  const { page: p } = await page(t);
  const seen = await p.evaluate(async () => {
    const bytes = await (await fetch("/vectors/car-good/history.car")).arrayBuffer();
    const hangs = new AbortController();
    setTimeout(() => hangs.abort(), 500);
    const runs = Array.from({ length: 200 }, (_, i) =>
      i % 5 > 0
        ? verifyHistory({ name: "life.car", bytes }).then(({ verdict }) => verdict)
        : verifyHistory({ name: "x", bytes: { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) } }, { signal: hangs.signal }).catch(({ name }) => name),
    );
    const count = {};
    for (const said of await Promise.all(runs)) count[said] = (count[said] ?? 0) + 1;
    return count;
  });
  assert.deepEqual(seen, { AbortError: 40, verified: 160 });
});

test("what is read stays there while garbage is collected", { timeout: 120_000 }, async (t) => {
  const { page: p } = await page(t);
  const session = await p.context().newCDPSession(p);
  const runs = 20;
  await p.evaluate(async (runs) => {
    const bytes = await (await fetch("/vectors/car-large-state/history.car")).arrayBuffer();
    window.done = 0;
    (async () => {
      for (let i = 0; i < runs; i++) {
        const { verdict } = await verifyHistory(i % 2 === 0 ? { name: "life.car", bytes } : { name: "life.car", bytes: new Blob([bytes]).stream() });
        if (verdict === "verified") window.done++;
      }
    })();
  }, runs);
  while ((await p.evaluate(() => window.done)) < runs) await session.send("HeapProfiler.collectGarbage");
});

test("no more workers than are allowed, and one that links", async (t) => {
  const init = () => {
    window.started = 0;
    window.Worker = class extends Worker {
      constructor(...args) {
        super(...args);
        window.started++;
      }
    };
  };
  const { page: p } = await page(t, { init });
  const started = await p.evaluate(async () => {
    configure({ workers: 2 });
    const files = Array.from({ length: 4000 }, (_, i) => ({ name: `${i}.ckpt`, bytes: Uint8Array.from({ length: 1200 }, (_, at) => (at === 0 ? 4 : i >> (at % 12))) }));
    for (let run = 0; run < 2; run++) await verifyHistory(files);
    return window.started;
  });
  assert.equal(started, 3);
});

test("where workers are forbidden", async (t) => {
  const { page: p } = await page(t, {
    policy: strictPolicy.replace("worker-src 'self'", "worker-src 'none'"),
    expect: [/worker/],
  });
  const verdict = await p.evaluate(async () => (await verifyHistory(new URL("/vectors/car-good/history.car", location.href))).verdict);
  assert.equal(verdict, "verified");
});

test("another WASM is refused, and loaded anew afterwards", async (t) => {
  const gz = await readFile(join(root, dist, "npm/igor-verify.wasm.gz"));
  const other = gzipSync(Buffer.concat([gunzipSync(gz), Buffer.from([0, 1, 0])])); // with an empty section of its own
  let changed = true;
  const { page: p } = await page(t, {
    more: {
      "/npm/igor-verify.wasm.gz": (_, response) => {
        response.setHeader("content-type", "application/gzip");
        response.end(changed ? other : gz);
      },
    },
  });
  await p.evaluate(refused);
  const run = () => verifyHistory(new URL("/vectors/car-good/history.car", location.href));
  assert.equal((await p.evaluate(`window.refused((${run})())`)).code, "wasm-refused");
  changed = false;
  assert.equal((await p.evaluate(`(${run})()`)).verdict, "verified");
});

for (const coding of ["gzip", "none"]) {
  test(`a host that serves the WASM with the coding ${coding}`, async (t) => {
    const [raw, gz] = await Promise.all(["igor-verify.wasm", "igor-verify.wasm.gz"].map((file) => readFile(join(root, dist, "npm", file))));
    const { page: p, server } = await page(t, {
      more: {
        "/npm/igor-verify.wasm": (_, response) => {
          response.setHeader("content-type", "application/wasm");
          if (coding === "gzip") response.setHeader("content-encoding", "gzip");
          response.end(coding === "gzip" ? gz : raw);
        },
      },
    });
    const verdict = await p.evaluate(async () => (await verifyHistory(new URL("/vectors/car-good/history.car", location.href))).verdict);
    assert.equal(verdict, "verified");
    assert.equal(server.requests.includes("/npm/igor-verify.wasm.gz"), coding === "none");
  });
}

// As a host of an application does that has one page for all addresses.
test("a host that answers with a page where it has no file", async (t) => {
  const aPage = (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
  const { page: p, server } = await page(t, { more: { "/npm/igor-verify.wasm.gz": aPage } });
  const run = () => verifyHistory(new URL("/vectors/car-good/history.car", location.href));
  assert.equal((await p.evaluate(`(${run})()`)).verdict, "verified");
  assert(server.requests.includes("/npm/igor-verify.wasm.gz"));
});

test("a page where the WASM has to be", async (t) => {
  const aPage = (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
  const { page: p } = await page(t, { more: { "/npm/igor-verify.wasm.gz": aPage, "/npm/igor-verify.wasm": aPage } });
  await p.evaluate(refused);
  const run = () => verifyHistory(new URL("/vectors/car-good/history.car", location.href));
  assert.equal((await p.evaluate(`window.refused((${run})())`)).code, "wasm-unavailable");
});

test("one checkpoint, inspected", async (t) => {
  const { page: p } = await page(t);
  const [good, changed, text] = await p.evaluate(async () => {
    const bytes = new Uint8Array(await (await fetch("/histories/heartbeat-01/0000000009.ckpt")).arrayBuffer());
    const good = await inspectCheckpoint(bytes);
    bytes[bytes.length - 1] ^= 1;
    return [good, await inspectCheckpoint(bytes), await inspectCheckpoint(new TextEncoder().encode("hello"))];
  });
  assert.equal(good.signature, "valid");
  assert.deepEqual(good.problems, []);
  assert.deepEqual(good.fields.map(({ name, offset }) => [name, offset]).slice(0, 4), [["version", 0], ["budget", 1], ["pricePerSecond", 9], ["tickNumber", 17]]);
  assert.equal(good.fields.find(({ name }) => name === "tickNumber").value, "9");
  assert.equal(changed.signature, "invalid");
  assert.deepEqual(changed.problems, ["bad-signature"]);
  assert.deepEqual(text.fields, []);
  assert.deepEqual(text.problems, ["unsupported-version"]);
});

test("plain HTTP, without crypto.subtle", async (t) => {
  const { page: p } = await page(t, { init: () => Object.defineProperty(Crypto.prototype, "subtle", { value: undefined }) });
  const [subtle, verdict] = await p.evaluate(async () => [
    crypto.subtle,
    (await verifyHistory(new URL("/vectors/car-good/history.car", location.href))).verdict,
  ]);
  assert.equal(subtle, undefined);
  assert.equal(verdict, "verified");
});

test("a crash of the verifier is no verdict, and the next run has a fresh one", async (t) => {
  const { page: p } = await page(t);
  await p.evaluate(refused);
  const seen = await p.evaluate(async () => {
    configure({ workers: 0 });
    // The instance's memory is overwritten before it examines, which makes it trap.
    const { instantiate } = WebAssembly;
    WebAssembly.instantiate = async (...args) => {
      const instance = await instantiate(...args);
      const examine = (n) => {
        new Uint8Array(instance.exports.mem.buffer).fill(0xff, 8192);
        return instance.exports.examine(n);
      };
      const exports = { ...instance.exports, examine };
      return new Proxy(instance, { get: (target, key) => (key === "exports" ? exports : Reflect.get(target, key)) });
    };
    const run = () => verifyHistory(new URL("/vectors/car-good/history.car", location.href));
    const seen = [(await refused(run())).code];
    WebAssembly.instantiate = instantiate;
    seen.push((await run()).verdict);
    return seen;
  });
  assert.deepEqual(seen, ["crashed", "verified"]);
});

test("files of 1 GiB do not harm the page", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "igor-large-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const good = await readFile(join(root, "testdata/vectors/car-good/history.car"));
  // Zeros are no block.
  const large = { "good.car": good, "large.ckpt": Buffer.from([4]), "zeros.car": good, "text.car": Buffer.from("hello") };
  for (const [name, start] of Object.entries(large)) {
    await writeFile(join(dir, name), start);
    if (name !== "good.car") await truncate(join(dir, name), 1 << 30);
  }
  const { page: p } = await page(t);
  await p.evaluate(refused);
  await p.evaluate(() => document.body.append(Object.assign(document.createElement("input"), { type: "file", multiple: true })));
  await p.locator("input").setInputFiles(Object.keys(large).map((name) => join(dir, name)));
  const codes = await p.evaluate(async () => {
    const [good, ...rest] = document.querySelector("input").files;
    const codes = [(await verifyHistory(good)).verdict];
    for (const file of rest) codes.push((await refused(verifyHistory(file))).code);
    codes.push((await verifyHistory(good)).verdict);
    return codes;
  });
  assert.deepEqual(codes, ["verified", "too-large", "malformed-car", "malformed-car", "verified"]);
});

test("states of 64 MiB, one after the other", async (t) => {
  const { page: p } = await page(t);
  const report = await p.evaluate(async () => {
    const bytes = new Uint8Array(64 << 20);
    bytes[0] = 4;
    const history = (function* () {
      for (let i = 0; i < 3; i++) {
        bytes[200] = i;
        yield { name: `${i}.ckpt`, bytes: new Blob([bytes]) };
      }
    })();
    return verifyHistory(history);
  });
  assert.equal(report.verdict, "invalid");
  assert.equal(report.checkpoints, 3);
  assert.equal(report.bytes, 3 * (64 << 20));
});
