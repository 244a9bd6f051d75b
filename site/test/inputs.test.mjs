// What verifyHistory is given, and that Node gives for it what igor-verify gives.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { close, dist, open, root, serve } from "./browser.mjs";
import { car, checkpoints } from "./life.mjs";
import { igorVerify } from "./vectors.mjs";

after(close);

const { configure, inspectCheckpoint, reportJSON, verifierVersion, verifyHistory } = await import(`../../${dist}/npm/node.js`);
const life = join(root, "testdata", "histories", "heartbeat-01");
const carFile = join(root, "testdata", "vectors", "car-good", "history.car");
const did = "did:key:z6MknTqAWs1xa4Z81VAXdUSpFKx5BhWC1QNLaWaKu511bwgk";

async function folder(t) {
  const dir = await mkdtemp(join(tmpdir(), "igor-inputs-"));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const command = await igorVerify({ after }, await verifierVersion());

/** Holds Node's outcome for paths against that of igor-verify, byte for byte. */
async function same(t, ...paths) {
  const cli = await command(root, "--format=json", ...paths);
  const got = await verifyHistory(paths).then(reportJSON, (error) => error);
  if (cli.exit === 2) {
    assert.equal(got.name, "VerifyError", `${paths}: ${cli.stderr} ${got}`);
    const said = `${got.path ? `${got.path}: ` : ""}${got.problem}`;
    assert.ok(cli.stderr.includes(said), `${cli.stderr}\n${said}`);
    if (got.hint && got.problem !== "not a regular file") assert.ok(cli.stderr.includes(got.hint), `${cli.stderr}\n${got.hint}`);
  } else assert.equal(got, cli.stdout, String(paths));
  return cli;
}

test("every kind of input, by itself and in a folder", async (t) => {
  const dir = await folder(t);
  const kinds = JSON.parse(await readFile(join(root, "testdata", "kinds.json"), "utf8"));
  assert.ok(kinds.length > 100);
  const exits = new Set();
  for (const [i, { name, start }] of kinds.entries()) {
    const path = join(dir, String(i), name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, Buffer.from(start, "hex"));
    exits.add((await same(t, path)).exit);
  }
  assert.ok(exits.has(1) && exits.has(2));
  await same(t, dir);
  await cp(life, join(dir, "life"), { recursive: true });
  await same(t, dir);
  await same(t, join(life, "0000000004.ckpt"), join(dir, "0", kinds[0].name), carFile);
});

test("links, pipes, and names that are no UTF-8", async (t) => {
  const dir = await folder(t);
  await cp(life, join(dir, "in"), { recursive: true });
  const [one] = (await readdir(life)).filter((name) => name.endsWith(".ckpt"));
  const raw = (...bytes) => Buffer.concat([Buffer.from(join(dir, "in") + "/"), ...bytes.map((part) => Buffer.from(part))]);
  await writeFile(raw([0xff, 0xfe, 0x80], "a.ckpt"), "\x04short");
  await writeFile(raw([0xff], "notes.txt"), "notes");
  await mkdir(raw([0xe9]));
  await writeFile(raw([0xe9], "/b.ckpt"), "\x04short too");
  await symlink(join(life, one), join(dir, "in", "link.ckpt"));
  await symlink(life, join(dir, "in", "folder"));
  await symlink(life, join(dir, "in", "folder.ckpt"));
  await symlink("/nowhere", join(dir, "in", "dangling"));
  await promisify(execFile)("mkfifo", [join(dir, "in", "pipe")]);
  const { stdout } = await same(t, join(dir, "in"));
  const { notLookedAt, problems } = JSON.parse(stdout);
  assert.ok(notLookedAt.some(({ kind, files }) => kind === "folder-link" && files === 2));
  assert.deepEqual(problems.map(({ name }) => name).slice(0, 2).sort(), ["\ufffd/b.ckpt", "\ufffd\ufffd\ufffda.ckpt"]);
  await promisify(execFile)("mkfifo", [join(dir, "in", "pipe.ckpt")]);
  assert.equal((await same(t, join(dir, "in"))).exit, 2);
  await rm(join(dir, "in", "pipe.ckpt"));
  await symlink("/nowhere", join(dir, "in", "dangling.ckpt"));
  assert.equal((await same(t, join(dir, "in"))).exit, 2);
  assert.equal((await same(t, join(dir, "nowhere"))).exit, 2);
  await mkdir(join(dir, "empty"));
  assert.equal((await same(t, join(dir, "empty"))).exit, 2);
  assert.equal((await same(t, join(life, one), "/dev/null")).exit, 2);
});

test("large files, and many small ones, in Node", async (t) => {
  const dir = await folder(t);
  const checkpoint = await readFile(join(life, "0000000004.ckpt"));
  for (let i = 0; i < 300; i++) await writeFile(join(dir, `${i}.ckpt`), Buffer.concat([checkpoint, Buffer.from(String(i))]));
  for (let i = 0; i < 4; i++) await writeFile(join(dir, `large-${i}.ckpt`), Buffer.concat([checkpoint, Buffer.alloc(3 << 20, i)]));
  assert.equal((await same(t, dir)).exit, 1);
});

test("a CAR of large and small states, whole and cut, in pieces of any size", async (t) => {
  const dir = await folder(t);
  const sizes = [0, 200_000, 10, 3 << 20, 131_072 - 209, 131_073 - 209, 1 << 20, 1, 2 << 20, 0];
  const blocks = checkpoints(sizes.length, (i) => ({ state: Buffer.alloc(sizes[i], i) }));
  const whole = car(blocks);
  const path = join(dir, "life.car");
  const write = (bytes) => writeFile(path, bytes);
  /** The history, as a stream of pieces that have nothing to do with its blocks. */
  const stream = (bytes, size) => ({ name: path, bytes: (async function* () {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  })() });
  const outcome = (input) => verifyHistory(input).then(reportJSON, ({ code, problem }) => `${code}: ${problem}`);
  const changed = (at) => Buffer.from(whole).fill(whole[at] ^ 1, at, at + 1);
  const inputs = { whole, "changed in a large state": changed(2 << 20), "changed at its end": changed(whole.length - 300), "followed by something": Buffer.concat([whole, Buffer.of(5)]) };
  for (const at of [150_000, 1 << 20, (1 << 20) + 300, 3_800_000, whole.length - 1]) inputs[`cut at ${at}`] = whole.subarray(0, at);
  for (const [what, bytes] of Object.entries(inputs)) {
    await write(bytes);
    const { exit } = await same(t, path);
    assert.equal(exit, what === "whole" ? 0 : 2, what);
    const told = await outcome(path);
    assert.match(told, what === "whole" ? /"verified"/ : /^malformed-car: /, what);
    for (const workers of [2, 0]) {
      configure({ workers });
      assert.equal(await outcome(new Blob([bytes], { type: "application/vnd.ipld.car" })), told, `${what}, a blob, ${workers} workers`);
      for (const size of [50_000, 131_072, (1 << 20) + 7]) assert.equal(await outcome(stream(bytes, size)), told, `${what}, in pieces of ${size}, ${workers} workers`);
    }
    configure({});
  }
  const server = await serve(t, { "/page": `<!doctype html><html lang="en"><title>test</title><input type="file">`, "/npm/": `${dist}/npm` });
  const page = await open(t, `${server.url}/page`);
  await write(whole);
  await page.locator("input").setInputFiles(path);
  const report = await page.evaluate(async () => {
    const { reportJSON, verifyHistory } = await import("/npm/index.js");
    return reportJSON(await verifyHistory(document.querySelector("input").files));
  });
  assert.equal(report, (await command(root, "--format=json", path)).stdout);
});

const short = "/proc/kallsyms"; // each read of it gives less than was asked for, and not its end

test("a read that gives less than was asked for is no end", { skip: !existsSync(short) }, async (t) => {
  const dir = await folder(t);
  await symlink(short, join(dir, "short.ckpt"));
  const { bytes } = JSON.parse((await same(t, dir)).stdout);
  assert.equal(bytes, (await readFile(short)).length);
});

test("the same history in every form", async () => {
  const bytes = await readFile(carFile);
  const halves = async function* () {
    for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
  };
  const forms = {
    path: carFile,
    "a file: URL": pathToFileURL(carFile),
    Buffer: bytes,
    Uint8Array: new Uint8Array(bytes),
    ArrayBuffer: new Uint8Array(bytes).buffer,
    Blob: new Blob([bytes]),
    "a blob of its media type": new Blob([bytes], { type: "application/vnd.ipld.car" }),
    File: new File([bytes], "LIFE.CAR"),
    named: { name: "x.CAR", bytes },
    "a stream": { name: "history", bytes: halves() },
    "a list": [new Uint8Array(bytes)],
  };
  for (const workers of [1, 0]) {
    configure({ workers });
    for (const [what, input] of Object.entries(forms)) {
      if (what === "a stream" && workers === 0) continue; // it was read
      assert.equal((await verifyHistory(input, { did })).verdict, "verified", what);
    }
  }
  configure({});
  const checkpoint = await readFile(join(life, "0000000004.ckpt"));
  for (const input of [checkpoint, new Uint8Array(checkpoint).buffer]) assert.equal((await inspectCheckpoint(input)).signature, "valid");
});

test("a media type changes nothing about what an input is", async () => {
  const checkpoint = await readFile(join(life, "0000000004.ckpt"));
  const car = await readFile(carFile);
  const outcome = (input) => verifyHistory(input).then(({ verdict, checkpoints, problems }) => ({ verdict, checkpoints, problems }), ({ code, problem }) => ({ code, problem }));
  const inputs = { "x.ckpt": checkpoint, x: checkpoint, "x.car": checkpoint, "": checkpoint, "y.ckpt": car, y: car, "z.txt": Buffer.from("text"), z: Buffer.from("text"), "a.ckpt": Buffer.from("text"), b: Buffer.alloc(9) };
  for (const [name, bytes] of Object.entries(inputs)) {
    const untyped = await outcome(new File([bytes], name));
    for (const type of ["application/vnd.ipld.car", "application/zip", "text/html"]) assert.deepEqual(await outcome(new File([bytes], name, { type })), untyped, `${name}, ${type}`);
    assert.deepEqual(await outcome(new Blob([bytes], { type: "application/vnd.ipld.car" })), await outcome(new Blob([bytes])));
  }
});

test("what can be no input is a TypeError that says what can", async () => {
  const words = (async function* () {
    yield "text";
  })();
  const inputs = [5, true, null, undefined, {}, new Date(), new Int8Array(3), new DataView(new ArrayBuffer(3)), [5], { name: "a.ckpt" }, { name: 5, bytes: new Uint8Array() },
    { name: "a.ckpt", bytes: "text" }, { name: "a.ckpt", bytes: 5 }, { name: "a.ckpt", bytes: words }];
  for (const input of inputs) await assert.rejects(verifyHistory(input), { name: "TypeError", message: /give|has to/ }, String(input?.name ?? input));
  await assert.rejects(inspectCheckpoint("text"), { name: "TypeError" });
});

test("pins fail closed, and there are no other options", async () => {
  for (const pins of [{ did: "" }, { did: " " }, { did: undefined }, { did: null }, { did: 5 }, { head: "" }, { head: undefined }, { did, head: null }, { did: "nobody" }]) {
    await assert.rejects(verifyHistory(carFile, pins), { name: "VerifyError", code: "bad-pin" }, JSON.stringify(pins));
  }
  for (const options of [{ dids: did }, { DID: did }, { expectedHead: "" }, { pins: { did } }, null, 5, did]) {
    await assert.rejects(verifyHistory(carFile, options), { name: "TypeError", message: /option/ }, JSON.stringify(options));
  }
  assert.throws(() => configure({ worker: "/x", wrokers: 2 }), { name: "TypeError", message: /wrokers/ });
  for (const workers of [-1, 1.5, NaN, "2"]) assert.throws(() => configure({ workers }), { name: "TypeError" });
});

test("pins are those of the call, whatever becomes of the options later", async () => {
  const nobody = "did:key:z6MkehRgf7yJbgaGfYsdoAsKdBPE3dj2CYhowQdcjqSJgvVd";
  const options = { did: nobody, head: "bafkreigo5iv55rk5n75ry7ehuz5ijr4xsxti526o4yubffjwglzr3xsam4" };
  const run = verifyHistory(carFile, options);
  delete options.did;
  options.head = undefined;
  const { verdict, identity, completeness } = await run;
  assert.deepEqual({ verdict, identity, completeness }, { verdict: "invalid", identity: "pinned", completeness: "head-pinned" });
  let reads = 0;
  const once = { get did() { return reads++ === 0 ? nobody : did; } };
  assert.equal((await verifyHistory(carFile, once)).verdict, "invalid");
  assert.equal((await verifyHistory(carFile, Object.create({ did: nobody }))).identity, "pinned");
});

test("what a host answers is decided by how it begins, and read no further", async (t) => {
  const endless = (start) => (_, response) => {
    const write = () => void (!response.destroyed && response.write(start) && setImmediate(write));
    response.writeHead(200).on("drain", write);
    write();
  };
  const server = await serve(t, {
    "/page": `<!doctype html><html lang="en"><title>test</title>`,
    "/npm/": `${dist}/npm`,
    "/life.car": (_, response) => response.end("<!doctype html><p>Not found"),
    "/LIFE.CAR": async (_, response) => response.end(await readFile(carFile)),
    "/download": async (_, response) => response.end(await readFile(carFile)),
    "/typed": async (_, response) => response.writeHead(200, { "content-type": "application/vnd.ipld.car; version=1" }).end(await readFile(carFile)),
    "/life.zip": endless(Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(60_000)])),
    "/notes": endless(Buffer.alloc(60_000, "text ")),
  });
  const page = await open(t, `${server.url}/page`);
  const outcomes = await page.evaluate(async () => {
    const { verifyHistory } = await import("/npm/index.js");
    const outcome = (path) => verifyHistory(new URL(path, location.href)).then(({ verdict }) => verdict, ({ code, problem }) => `${code}: ${problem}`);
    const all = {};
    for (const path of ["/life.car", "/LIFE.CAR", "/download", "/typed", "/life.zip", "/notes"]) all[path] = await outcome(path);
    const seen = [];
    const fetch = (url, { credentials }) => (seen.push(url.pathname, credentials), globalThis.fetch("/download"));
    all.own = (await verifyHistory(new URL("/secret", location.href), { fetch })).verdict;
    return { ...all, seen };
  });
  assert.deepEqual(outcomes, {
    "/life.car": "nothing-to-verify: this is a web page",
    "/LIFE.CAR": "verified",
    "/download": "verified",
    "/typed": "verified",
    "/life.zip": "nothing-to-verify: this is a zip archive",
    "/notes": "nothing-to-verify: this is a text, and no checkpoint",
    own: "verified",
    seen: ["/secret", "same-origin"],
  });
});

test("a CAR that workers read, each a range of it", async (t) => {
  const dir = await folder(t);
  const path = join(dir, "life.car");
  const [n, size] = [70, 512 << 10];
  /** As much as looks like the beginning of a block, in a state. */
  const lies = Buffer.alloc(size, Buffer.concat([Buffer.from("839b0c01551220", "hex"), Buffer.alloc(32, 7)]));
  const lifeOf = (state) => checkpoints(n, (i) => ({ state: state(i) }));
  const blocks = lifeOf((i) => Buffer.alloc(size, i + 1));
  const whole = car(blocks);
  const block = Math.floor(whole.length / n);
  const inputs = {
    whole,
    "states that look like blocks": car(lifeOf((i) => (i % 20 === 0 ? Buffer.alloc(size, i) : lies))),
    "small and very large states among them": car(lifeOf((i) => (i === 30 ? Buffer.alloc(10) : i === 60 ? Buffer.alloc(5 << 20) : Buffer.alloc(size, i)))),
    "another checkpoint between two": car([...blocks.slice(0, 50), checkpoints(1, () => ({ state: Buffer.alloc(size) }))[0], ...blocks.slice(50)]),
    "changed in two states": Buffer.from(whole).fill(255, 20 * block + 5000, 20 * block + 5001).fill(0, 60 * block, 60 * block + 1),
    "a CID of another kind": Buffer.from(whole).fill(0x71, 59 + 45 * block + 4, 59 + 45 * block + 5),
    "cut in a block": whole.subarray(0, 59 + 69 * block + 5000),
  };
  const server = await serve(t, { "/page": `<!doctype html><html lang="en"><title>test</title><input type="file">`, "/npm/": `${dist}/npm` });
  const page = await open(t, `${server.url}/page`);
  await page.evaluate(async () => {
    Object.assign(globalThis, await import("/npm/index.js"), { calls: [] });
    const { postMessage } = Worker.prototype;
    Worker.prototype.postMessage = function (message, transfer) {
      if (message.name) calls.push(message.name);
      postMessage.call(this, message, transfer);
    };
  });
  const verdicts = new Set();
  for (const [what, bytes] of Object.entries(inputs)) {
    await writeFile(path, bytes);
    await page.locator("input").setInputFiles(path);
    const got = await page.evaluate(async () => {
      calls.length = 0;
      configure({ workers: 3 });
      const progress = [];
      const onProgress = ({ checkpoints, bytes }) => progress.push([checkpoints, bytes]);
      const outcome = await verifyHistory(document.querySelector("input").files, { onProgress }).then(reportJSON, ({ code, path, problem, hint }) => `${code}: ${path?.split("/").at(-1)}: ${problem}; ${hint}`);
      return { outcome, progress, ranges: calls.filter((name) => name === "rangeOpen").length };
    });
    const inNode = await verifyHistory(path).then(reportJSON, ({ code, path, problem, hint }) => `${code}: ${path?.split("/").at(-1)}: ${problem}; ${hint}`);
    assert.equal(got.outcome, inNode, what);
    assert.match(got.outcome, /"verdict"|^malformed-car: life\.car: .*; ask for the file again/, what);
    assert.ok(got.ranges >= 3, `${what}: ${got.ranges} ranges`);
    verdicts.add(/^malformed-car|"verdict": ?"[a-z]+"/.exec(got.outcome)?.[0]);
    if (what !== "whole") continue;
    assert.deepEqual(got.progress.at(-1), [n, n * (size + 209)]);
    assert.deepEqual(got.progress, got.progress.toSorted((a, b) => a[1] - b[1]));
    assert.ok(got.progress.length > 5);
  }
  assert.equal(verdicts.size, 3, [...verdicts].join());

  await writeFile(path, whole);
  await page.locator("input").setInputFiles(path);
  const aborted = await page.evaluate(async () => {
    const abort = new AbortController();
    const onProgress = () => calls.includes("rangeNext") && abort.abort();
    calls.length = 0;
    const { name } = await verifyHistory(document.querySelector("input").files, { onProgress, signal: abort.signal }).catch((error) => error);
    const count = (name) => calls.filter((call) => call === name).length;
    while (count("rangeClose") < count("rangeOpen")) await new Promise((resolve) => setTimeout(resolve, 20));
    return { name, opened: count("rangeOpen") };
  });
  assert.equal(aborted.name, "AbortError");
  assert.ok(aborted.opened > 0);
});

test("a CAR in browsers that fill a buffer with less than was asked for, or fill none", async (t) => {
  const dir = await folder(t);
  const path = join(dir, "life.car");
  await writeFile(path, car(checkpoints(4, (i) => ({ state: Buffer.alloc(3 << 19, i) }))));
  const server = await serve(t, { "/page": `<!doctype html><html lang="en"><title>test</title><input type="file">`, "/npm/": `${dist}/npm` });
  const page = await open(t, `${server.url}/page`);
  await page.locator("input").setInputFiles(path);
  const { outcomes, reads } = await page.evaluate(async () => {
    const { configure, reportJSON, verifyHistory } = await import("/npm/index.js");
    configure({ workers: 0 }); // so that what is changed here is what reads
    const { read } = ReadableStreamBYOBReader.prototype;
    const { getReader } = ReadableStream.prototype;
    const reads = [0, 0, 0];
    const browsers = [
      () => (ReadableStreamBYOBReader.prototype.read = function (view, options) {
        reads[0]++;
        return read.call(this, view, options);
      }),
      () => (ReadableStreamBYOBReader.prototype.read = function (view) {
        reads[1]++;
        return read.call(this, view.subarray(0, 100_000));
      }),
      () => (ReadableStream.prototype.getReader = function (options) {
        if (options?.mode === "byob") throw new TypeError(`there is no such mode ${reads[2]++}`);
        return getReader.call(this);
      }),
    ];
    const outcomes = [];
    for (const change of browsers) {
      change();
      outcomes.push(await verifyHistory(document.querySelector("input").files).then(reportJSON, ({ code }) => code));
    }
    return { outcomes, reads };
  });
  const inNode = reportJSON(await verifyHistory(path));
  assert.match(inNode, /"verdict": ?"verified"/);
  assert.deepEqual(outcomes, [inNode, inNode, inNode]);
  assert.ok(reads[0] > 0 && reads[1] > 60 && reads[2] > 0, String(reads));
});
