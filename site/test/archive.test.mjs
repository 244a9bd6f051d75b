// Archives with random damage: each gives its files or an error that names it, and
// nothing else. SEED gives other damage; a failure names its own.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import { dist, root } from "./browser.mjs";

const rounds = 400;

/** The most that deflate makes of one byte. */
const maxRatio = 1032;

let folder;
let unpack;
let archiveKind;

before(async () => {
  await mkdir(join(root, dist), { recursive: true });
  folder = await mkdtemp(join(root, dist, "archive-")); // where node_modules is found from
  const options = ["--ignoreConfig", "--target", "ES2022", "--module", "ESNext", "--moduleResolution", "bundler", "--lib", "ES2022,DOM,DOM.AsyncIterable,DOM.Iterable"];
  execFileSync(
    join(root, "node_modules/.bin/tsc"),
    [...options, "--skipLibCheck", "--rewriteRelativeImportExtensions", "--rootDir", "site", "--outDir", folder, "site/app/archive.ts"],
    { cwd: root, stdio: "pipe", encoding: "utf8" },
  );
  ({ unpack, archiveKind } = await import(pathToFileURL(join(folder, "app/archive.js"))));
});
after(() => rm(folder, { recursive: true, force: true }));

/** Numbers from 0 to n-1 that look random, always the same for the same seed. */
function random(seed) {
  return (n) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

function tarred(files) {
  const blocks = [];
  const add = (name, type, bytes) => {
    const header = Buffer.alloc(512);
    header.write(name.slice(0, 100), 0);
    header.write("0000644\0", 100);
    header.write(`${bytes.length.toString(8).padStart(11, "0")}\0`, 124);
    header.write("        ", 148);
    header.write(type, 156);
    header.write("ustar\x0000", 257);
    header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `, 148);
    blocks.push(header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  };
  for (const [name, bytes] of Object.entries(files)) {
    const record = ` path=${name}\n`;
    if (name.length > 20) add("pax", "x", Buffer.from(`${record.length + 2}${record}`));
    add(name.slice(-20), "0", Buffer.from(bytes));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const files = {
  "0000000001.ckpt": Buffer.alloc(300, 1),
  "life/with-a-long-name/0000000002.ckpt": Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * i) & 0xff)),
  "readme.txt": Buffer.from("not a checkpoint"),
  "0000000003.ckpt": Buffer.alloc(0),
};
const good = {
  zip: Buffer.from(zipSync({ ...files, "0000000001.ckpt": [files["0000000001.ckpt"], { level: 0 }] })),
  tar: tarred(files),
  "tar.gz": gzipSync(tarred(files)),
};

/** Damages a copy in one to four places. */
function damaged(bytes, n) {
  let all = Buffer.from(bytes);
  for (let places = 1 + n(4); places > 0 && all.length > 0; places--) {
    const at = n(all.length);
    const some = all.subarray(at, at + 1 + n(600));
    const kinds = [
      () => void (all[at] ^= 1 << n(8)),
      () => void (all[at] = [0, 0x7f, 0x80, 0xff][n(4)]),
      () => void all.fill([0, 0xff][n(2)], at, at + 1 + n(8)),
      () => all.subarray(0, at),
      () => Buffer.concat([all.subarray(0, at), all.subarray(at + some.length)]),
      () => Buffer.concat([all.subarray(0, at), some, all.subarray(at)]),
    ];
    all = kinds[n(kinds.length)]() ?? all;
  }
  return all;
}

async function unpacked(kind, bytes) {
  const entries = [];
  for await (const { name, bytes: blob } of unpack(kind, "given", new Blob([bytes]), new AbortController().signal)) {
    entries.push([name, Buffer.from(await blob.arrayBuffer())]);
  }
  return entries;
}

const first = Number(process.env.SEED ?? 1);

for (const kind of Object.keys(good)) {
  test(`${kind}, whole and damaged`, async () => {
    assert.equal(await archiveKind("unnamed", new Blob([good[kind]])), kind);
    const whole = await unpacked(kind, good[kind]);
    const wanted = Object.entries(files).filter(([name]) => name.endsWith(".ckpt"));
    assert.deepEqual(whole.sort(), wanted.map(([name, bytes]) => [name, Buffer.from(bytes)]).sort());
    let refused = 0;
    for (let seed = first; seed < first + rounds; seed++) {
      const bytes = damaged(good[kind], random(seed));
      try {
        const entries = await unpacked(kind, bytes);
        let total = 0;
        for (const [name, content] of entries) {
          assert.match(name, /\.(ckpt|car)$/s);
          total += content.length;
        }
        assert.ok(total <= bytes.length * maxRatio, `${total} bytes of ${bytes.length}`);
      } catch (error) {
        assert.equal(error.name, "VerifyError", `SEED=${seed}: ${error.stack}`);
        assert.ok(["unreadable", "too-large"].includes(error.code) && error.path?.startsWith("given"), `SEED=${seed}: ${error.stack}`);
        refused++;
      }
    }
    assert.ok(refused > 0 && refused < rounds, `${refused} of ${rounds} were refused`);
  });
}
