// Archives as everyday programs make them, odd and hostile ones. What the page
// reads of one has to be what those programs unpack, or it says that it will not.

import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { deflateRawSync, gzipSync } from "node:zlib";
import { dist, root } from "./browser.mjs";
import { entryOf, paxHeader, tarHeader, tarOf } from "./tar.mjs";
import { descriptorOf, zip64End, zipOf } from "./zips.mjs";

const run = promisify(execFile);

let modules;
let unpack;
let archiveKind;
let work;

before(async () => {
  await mkdir(join(root, dist), { recursive: true });
  modules = await mkdtemp(join(root, dist, "archive-")); // where node_modules is found from
  const options = ["--ignoreConfig", "--target", "ES2022", "--module", "ESNext", "--moduleResolution", "bundler", "--lib", "ES2022,DOM,DOM.AsyncIterable,DOM.Iterable"];
  execFileSync(
    join(root, "node_modules/.bin/tsc"),
    [...options, "--skipLibCheck", "--rewriteRelativeImportExtensions", "--rootDir", "site", "--outDir", modules, "site/app/archive/archive.ts"],
    { cwd: root, stdio: "pipe", encoding: "utf8" },
  );
  ({ unpack, archiveKind } = await import(pathToFileURL(join(modules, "app/archive/archive.js"))));
  work = await mkdtemp(join(tmpdir(), "igor-archives-"));
  for (const [name, bytes] of Object.entries(life)) {
    await mkdir(dirname(join(work, "life", name)), { recursive: true });
    await writeFile(join(work, "life", name), bytes);
  }
});
after(async () => {
  await rm(modules, { recursive: true, force: true });
  await rm(work, { recursive: true, force: true });
});

/** Numbers from 0 to n-1 that look random, always the same for the same seed. */
function random(seed) {
  return (n) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const state = (seed, size) => Buffer.from(Array.from({ length: size }, ((n) => () => n(256))(random(seed))));
const long = `${"a-rather-long-name/".repeat(7)}0000000005.ckpt`;

/** What is packed: checkpoints, with the marks of archives in them, and what is none. */
const life = {
  "0000000001.ckpt": Buffer.concat([Buffer.alloc(300, 4), Buffer.from("PK\x03\x04 PK\x07\x08 PK\x01\x02 PK\x05\x06", "latin1"), state(1, 900)]),
  "0000000002.ckpt": Buffer.alloc(0),
  "deeper/0000000003.ckpt": Buffer.from(`{"state":${JSON.stringify("text ".repeat(4000))}}`),
  "deeper/état-0000000004.ckpt": state(4, 70_000),
  [long]: state(5, 1000),
  "receipts": Buffer.from("not a checkpoint"),
  "._0000000001.ckpt": Buffer.from("\0\x05\x16\x07 what macOS leaves", "latin1"),
  "__MACOSX/0000000001.ckpt": Buffer.from("too"),
  ".DS_Store": Buffer.from("too"),
};
const isCheckpoint = (path) => /\.ckpt$/s.test(path) && !path.split("/").at(-1).startsWith("._") && !path.split("/").includes("__MACOSX");
const wanted = Object.fromEntries(Object.entries(life).filter(([path]) => isCheckpoint(path)));

// What other programs unpack, each into an empty folder. Their warnings are no failures.

const python = (code) => (file, to) => run("python3", ["-W", "ignore", "-c", code, file, to]);
const from = (command, file) => run("bash", ["-c", `${command} < "$0"`, file]);
const zipReaders = {
  unzip: (file, to) => run("unzip", ["-qq", "-o", file, "-d", to]).catch((error) => (error.code === 1 ? undefined : Promise.reject(error))),
  "7z": (file, to) => run("7z", ["x", "-y", "-bd", `-o${to}`, file]),
  python: python("import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])"),
  bsdtar: (file, to) => run("bsdtar", ["-xf", file, "-C", to]),
  "bsdtar, as a stream": (file, to) => from(`bsdtar -xf - -C '${to}'`, file),
};
const tarReaders = {
  tar: (file, to) => run("tar", ["-xf", file, "-C", to]),
  bsdtar: (file, to) => run("bsdtar", ["-xf", file, "-C", to]),
  python: python("import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])"),
  "7z": async (file, to) => {
    if (!/gz$/.test(file)) return run("7z", ["x", "-y", "-bd", "-snl-", `-o${to}`, file]);
    return run("bash", ["-c", `7z x -y -bd -so "$0" | 7z x -y -bd -si -ttar "-o$1"`, file, to]);
  },
};

/** The checkpoints below a folder, with what is in them. */
async function checkpointsIn(folder) {
  const found = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1);
    if (isCheckpoint(path)) found[path] = (await readFile(join(folder, path))).toString("latin1");
  }
  return found;
}

async function unpacked(kind, bytes) {
  const entries = {};
  for await (const { name, bytes: content } of unpack(kind, "given", new Blob([bytes]), new AbortController().signal)) {
    if (content) entries[name] = Buffer.from(content instanceof Blob ? await content.arrayBuffer() : content).toString("latin1");
  }
  return entries;
}

/** A name without what depends on the program: accents, of whose coding old zip archives say nothing. */
const plain = (files) => Object.fromEntries(Object.entries(files).map(([name, content]) => [name.replace(/[^\x20-\x7e]+/g, "?"), content]));

/** Holds the page to what every program makes of an archive that unpacks it at all. Returns how many did. */
async function compare(file, readers, page) {
  const agreeing = Object.entries(readers).map(async ([name, reader]) => {
    const to = await mkdtemp(join(work, "out-"));
    const done = await reader(file, to).then(() => true, () => false);
    if (done) assert.deepEqual(plain(await checkpointsIn(to)), plain(page), `${name} of ${file}`);
    await rm(to, { recursive: true, force: true });
    return done;
  });
  return (await Promise.all(agreeing)).filter(Boolean).length;
}

/** A file that a command, run in the folder of the life, makes under the name $OUT. */
const made = (extension, command) => async (name) => {
  const out = join(work, `${name.replace(/\W+/g, "-")}${extension}`);
  await run("bash", ["-euc", command], { cwd: join(work, "life"), env: { ...process.env, OUT: out, LC_ALL: "C.UTF-8", TAPE: "" } });
  return out;
};
const byHand = (extension, bytes) => async (name) => {
  const out = join(work, `${name.replace(/\W+/g, "-")}${extension}`);
  await writeFile(out, typeof bytes === "function" ? bytes() : bytes);
  return out;
};
const py = (code) => `python3 -W ignore - <<'CODE'\nimport os, sys, io, zipfile, tarfile\nout = os.environ["OUT"]\nfiles = sorted(os.path.relpath(os.path.join(d, f), ".") for d, _, fs in os.walk(".") for f in fs)\n${code}\nCODE`;

const [good, other] = [state(11, 400), state(12, 400)];
const ckpt = (data = good, more = {}) => ({ name: "1.ckpt", data, ...more });
const truth = (data) => ({ crc: Number(crcOf(data)), packed: data.length, size: data.length });
const crcOf = (data) => zipOf([{ name: "x", data }]).readUInt32LE(14);
const ambiguous = /ambiguous archive/;
const unsupported = (what) => new RegExp(`${what}.*unpack`);
const agree = undefined;

/** An extra field with a name in UTF-8, which belongs to another name. */
function unicodePath(of, name) {
  const field = Buffer.concat([Buffer.from([0x75, 0x70, 5 + name.length, 0, 1]), Buffer.alloc(4), Buffer.from(name)]);
  field.writeUInt32LE(crcOf(Buffer.from(of)), 5);
  return field;
}

/** An entry that hides in the data of another one, whose descriptor says that it ends before. */
function hidden(method) {
  const inner = zipOf([ckpt(other)]).subarray(0, 30 + 6 + 400); // without its directory
  const front = Buffer.from("front");
  const packed = method === 8 ? deflateRawSync(front) : front;
  const described = descriptorOf({ ...truth(front), packed: packed.length });
  const raw = Buffer.concat([packed, described, inner]);
  return method === 8
    ? { name: "notes.txt", data: front, raw, method, descriptor: descriptorOf({ crc: truth(front).crc, packed: raw.length, size: 5 }) }
    : { name: "notes.txt", data: raw, method, descriptor: true };
}

/** What zip archives are tried, and what the page has to say of each: agree with all that unpack it, or an error. */
const zips = {
  "Info-ZIP": [made(".zip", "zip -qr $OUT ."), agree],
  "Info-ZIP, stored": [made(".zip", "zip -qr0 $OUT ."), agree],
  "Info-ZIP, streamed": [made(".zip", "zip -qr - . | cat > $OUT"), agree],
  "Info-ZIP, zip64": [made(".zip", "zip -qr -fz $OUT ."), agree],
  "Info-ZIP, a file from a stream": [made(".zip", "cat 0000000001.ckpt | zip -q $OUT - && printf '@ -\\n@=0000000001.ckpt\\n' | zipnote -w $OUT"), ambiguous],
  "Info-ZIP, with a comment": [made(".zip", "zip -qr $OUT . && echo 'a comment: PK' | zip -qz $OUT"), agree],
  "Info-ZIP, no extra fields": [made(".zip", "zip -qrX $OUT ."), agree],
  "Info-ZIP, no folders": [made(".zip", "zip -qrD $OUT ."), agree],
  "Info-ZIP, added to and removed from": [made(".zip", "zip -q $OUT receipts 0000000001.ckpt && zip -qr $OUT . && zip -qd $OUT receipts"), agree],
  "Info-ZIP, links": [made(".zip", "ln -s 0000000001.ckpt latest && ln -s deeper d && zip -qry $OUT . ; rm latest d"), agree],
  "Info-ZIP, a link named as a checkpoint": [made(".zip", "ln -s receipts 9.ckpt && zip -qry $OUT . ; rm 9.ckpt"), ambiguous],
  "Info-ZIP, bzip2": [made(".zip", "zip -qr -Z bzip2 $OUT ."), unsupported("bzip2")],
  "Info-ZIP, encrypted": [made(".zip", "zip -qr -P secret $OUT ."), /encrypted.*password/],
  "Info-ZIP, in parts": [made(".zip", "zip -qr -s 64k $OUT ."), /one part/],
  "a program before it": [made(".zip", "zip -qr $OUT.1 . && cat /bin/true $OUT.1 > $OUT && rm $OUT.1"), ambiguous],
  "a program before it, adjusted": [made(".zip", "zip -qr $OUT.1 . && cat /bin/true $OUT.1 > $OUT && rm $OUT.1 && zip -qA $OUT"), ambiguous],
  "bytes after it": [made(".zip", "zip -qr $OUT . && echo hello >> $OUT"), /ambiguous|no zip/],
  "two, one after the other": [made(".zip", "zip -q $OUT receipts && zip -q $OUT.1 0000000001.ckpt && cat $OUT.1 >> $OUT && rm $OUT.1"), ambiguous],
  "Python": [made(".zip", py(`with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:\n  for f in files: z.write(f)`)), agree],
  "Python, stored": [made(".zip", py(`with zipfile.ZipFile(out, "w") as z:\n  for f in files: z.write(f)`)), agree],
  "Python, streamed": [made(".zip", py(`
class Pipe(io.RawIOBase):
  def __init__(self): self.f = open(out, "wb")
  def writable(self): return True
  def write(self, b): return self.f.write(b)
with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as z:
  for f in files: z.write(f)`)), agree],
  "Python, streamed and stored": [made(".zip", py(`
class Pipe(io.RawIOBase):
  def __init__(self): self.f = open(out, "wb")
  def writable(self): return True
  def write(self, b): return self.f.write(b)
with zipfile.ZipFile(Pipe(), "w") as z:
  for f in files: z.write(f)`)), agree],
  "Python, zip64": [made(".zip", py(`with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:\n  for f in files:\n    with z.open(zipfile.ZipInfo(f), "w", force_zip64=True) as w: w.write(open(f, "rb").read())`)), agree],
  "Python, LZMA": [made(".zip", py(`with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as z:\n  for f in files: z.write(f)`)), unsupported("LZMA")],
  "Python, a name twice": [made(".zip", py(`with zipfile.ZipFile(out, "w") as z:\n  z.write("0000000001.ckpt")\n  z.write("receipts", "0000000001.ckpt")`)), ambiguous],
  "7z": [made(".zip", "7z a -bd -tzip $OUT . >/dev/null"), agree],
  "7z, stored": [made(".zip", "7z a -bd -tzip -mx0 $OUT . >/dev/null"), agree],
  "7z, Deflate64": [made(".zip", "7z a -bd -tzip -mm=Deflate64 $OUT . >/dev/null"), unsupported("Deflate64")],
  "7z, LZMA": [made(".zip", "7z a -bd -tzip -mm=LZMA $OUT . >/dev/null"), unsupported("LZMA")],
  "7z, PPMd": [made(".zip", "7z a -bd -tzip -mm=PPMd $OUT . >/dev/null"), unsupported("PPMd")],
  "7z, AES": [made(".zip", "7z a -bd -tzip -psecret -mem=AES256 $OUT . >/dev/null"), /encrypted.*password/],
  "7z, a 7z archive": [made(".zip", "7z a -bd -t7z $OUT . >/dev/null"), unsupported("7z")],
  "bsdtar": [made(".zip", "bsdtar --format zip -cf $OUT *"), agree],
  "bsdtar, stored": [made(".zip", "bsdtar --format zip --options zip:compression=store -cf $OUT *"), agree],
  "as Finder makes them": [byHand(".zip", () => zipOf(Object.entries(life).map(([name, data]) => ({ name, data, method: 8, descriptor: true, made: 0x0315 })))), agree],

  "UTF-8 names without the flag": [byHand(".zip", () => zipOf([{ name: "état.ckpt", data: good, flags: 0 }])), agree],
  "a name in its header and another in the directory": [byHand(".zip", () => zipOf([ckpt(good, { local: { name: "1.txt_" } })])), ambiguous],
  "a size in its header and another in the directory": [byHand(".zip", () => zipOf([ckpt(good, { central: truth(good.subarray(0, 300)) })])), ambiguous],
  "no size in its header": [byHand(".zip", () => zipOf([ckpt(good, { local: { packed: 0, size: 0, crc: 0 } })])), ambiguous],
  "a method in its header and another in the directory": [byHand(".zip", () => zipOf([ckpt(good, { local: { method: 8 } })])), ambiguous],
  "a control character in a name": [byHand(".zip", () => zipOf([ckpt(), { name: "2\n.ckpt", data: other }])), ambiguous],
  "a control character in the ending of a name": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ck\x01pt", data: other }])), ambiguous],
  "a file without a name": [byHand(".zip", () => zipOf([ckpt(), { name: "", data: other }])), ambiguous],
  "a record that the directory does not list": [byHand(".zip", () => zipOf([{ name: "2.ckpt", data: other, listed: false }, ckpt()])), ambiguous],
  "a record between others that it does not list": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt", data: other, listed: false }, { name: "3.ckpt", data: good }])), ambiguous],
  "a record before the directory that it does not list": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt", data: other, listed: false }])), ambiguous],
  "records that overlap": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt", data: good, offset: 0, local: { name: "1.ckpt" } }])), ambiguous],
  "one record in the data of another": [byHand(".zip", () => { const inner = zipOf([ckpt()]).subarray(0, 436); return zipOf([{ name: "a.ckpt", data: inner }, ckpt(good, { offset: 36 })]); }), ambiguous],
  "a record in stored data behind a descriptor": [byHand(".zip", () => zipOf([hidden(0)])), ambiguous],
  "a record in deflated data behind a descriptor": [byHand(".zip", () => zipOf([hidden(8)])), ambiguous],
  "a checkpoint that seems to end in its middle": [byHand(".zip", () => zipOf([ckpt(Buffer.concat([good, descriptorOf(truth(good)), other]), { descriptor: true })])), ambiguous],
  "bytes behind the end of deflated data": [byHand(".zip", () => zipOf([ckpt(good, { method: 8, raw: Buffer.concat([deflateRawSync(good), other]) })])), ambiguous],
  "a comment with another end": [byHand(".zip", () => zipOf([ckpt()], { comment: Buffer.concat([Buffer.from("PK\x05\x06", "latin1"), Buffer.alloc(18)]) })), ambiguous],
  "fewer entries in the end": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt", data: other }], { count: 1 })), ambiguous],
  "more entries on the disk than in all": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt", data: other }], { countHere: 1 })), ambiguous],
  "another directory in the end": [byHand(".zip", () => zipOf([{ name: "notes.txt", data: zipOf([ckpt(other)]) }, ckpt()], { start: 30 + 9 + 436 })), /ambiguous|damaged/],
  "bytes before the directory": [byHand(".zip", () => zipOf([ckpt()], { before: Buffer.alloc(4) })), ambiguous],
  "zip64 records that agree": [byHand(".zip", () => zipOf([ckpt()], { beforeEnd: zip64End(), count: 0xffff, countHere: 0xffff, size: 0xffffffff, start: 0xffffffff })), agree],
  "zip64 records of fewer entries": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt", data: other }], { beforeEnd: zip64End(), count: 2 })), ambiguous],
  "zip64 records of another directory": [byHand(".zip", () => zipOf([ckpt()], { beforeEnd: zip64End({ start: 5 }), count: 0xffff, countHere: 0xffff })), /ambiguous|damaged/],
  "zip64 records elsewhere": [byHand(".zip", () => {
    const record = zip64End()({ start: 30 + 9 + 76, size: 52, at: 0 }).subarray(0, 56);
    return zipOf([{ name: "notes.txt", data: record }, ckpt()], { beforeEnd: zip64End({ count: 2 }, { at: 39 }), count: 0xffff, countHere: 0xffff });
  }), /ambiguous|damaged/],
  "two names that are one on some systems": [byHand(".zip", () => zipOf([ckpt(), { name: "1.CKPT", data: other }])), ambiguous],
  "two accents that are one on some systems": [byHand(".zip", () => zipOf([{ name: "\u00e9.ckpt", data: good }, { name: "e\u0301.ckpt", data: other }])), ambiguous],
  "a file and a folder of one name": [byHand(".zip", () => zipOf([ckpt(), { name: "1.ckpt/2.ckpt", data: other }])), ambiguous],
  "a folder with a content": [byHand(".zip", () => zipOf([ckpt(), { name: "d/", data: other }])), ambiguous],
  "a folder by its attributes": [byHand(".zip", () => zipOf([ckpt(good, { attributes: 0x41ed0010 })])), ambiguous],
  "a name that leads out": [byHand(".zip", () => zipOf([ckpt(), { name: "../2.ckpt", data: other }])), ambiguous],
  "a name from the root": [byHand(".zip", () => zipOf([ckpt(), { name: "/tmp/2.ckpt", data: other }])), ambiguous],
  "a name with a drive": [byHand(".zip", () => zipOf([ckpt(), { name: "C:2.ckpt", data: other }])), ambiguous],
  "a name with a backslash": [byHand(".zip", () => zipOf([ckpt(), { name: "d\\2.ckpt", data: other }])), ambiguous],
  "a name with a zero byte": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt\0.txt", data: other }])), ambiguous],
  "a name with a point behind": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt.", data: other }])), ambiguous],
  "a name with a space behind": [byHand(".zip", () => zipOf([ckpt(), { name: "2.ckpt ", data: other }])), ambiguous],
  "another name in an extra field of its header alone": [byHand(".zip", () => zipOf([{ name: "1.txt1", data: good, localExtra: unicodePath("1.txt1", "2.ckpt") }])), ambiguous],
  "another name in an extra field that does not belong to it": [byHand(".zip", () => zipOf([{ name: "1.txt1", data: good, extra: unicodePath("other", "2.ckpt") }])), ambiguous],
  "its own name in an extra field": [byHand(".zip", () => { const field = unicodePath("1.ckpt", "1.ckpt"); return zipOf([ckpt(good, { extra: field, localExtra: field })]); }), agree],
  "two sizes in extra fields": [byHand(".zip", () => {
    const size = (n) => { const field = Buffer.alloc(12); field.writeUInt16LE(1, 0); field.writeUInt16LE(8, 2); field.writeUInt32LE(n, 4); return field; };
    return zipOf([ckpt(good, { central: { size: 0xffffffff }, extra: Buffer.concat([size(300), size(400)]) })]);
  }), ambiguous],
  "extra fields that are cut": [byHand(".zip", () => zipOf([ckpt(good, { extra: Buffer.from([0x55, 0x54, 9, 0, 1]) })])), ambiguous],
  "AES without encryption": [byHand(".zip", () => zipOf([ckpt(good, { method: 99, raw: good, extra: Buffer.from([1, 0x99, 7, 0, 2, 0, 0x41, 0x45, 3, 0, 0]), localExtra: Buffer.from([1, 0x99, 7, 0, 2, 0, 0x41, 0x45, 3, 0, 0]) })])), /encrypted|AES|ambiguous/],
  "another name in an extra field": [byHand(".zip", () => {
    const field = unicodePath("1.txt1", "2.ckpt");
    return zipOf([{ name: "1.txt1", data: good, extra: field, localExtra: field }]);
  }), ambiguous],
  "a link by its attributes, from a system that has none": [byHand(".zip", () => zipOf([ckpt(Buffer.from("receipts"), { attributes: 0xa1ff0000, made: 20 })])), ambiguous],
  "a wrong checksum": [byHand(".zip", () => { const zip = zipOf([ckpt()]); zip[60] ^= 1; return zip; }), /not what was packed/],
  "a bomb": [byHand(".zip", () => zipOf([ckpt(Buffer.alloc(65 << 20), { method: 8 })])), /at most 64 MiB/],
  "a bomb that says it is small": [byHand(".zip", () => zipOf([{ name: "1.ckpt", data: good, raw: deflateRawSync(Buffer.alloc(65 << 20)), method: 8 }])), /larger than it says/],
  "no entries": [byHand(".zip", () => zipOf([])), /empty/],
};

const tars = {
  "GNU tar": [made(".tar", "tar --format=gnu -cf $OUT ."), agree],
  "GNU tar, compressed": [made(".tar.gz", "tar -czf $OUT ."), agree],
  "GNU tar, pax": [made(".tar", "tar --format=posix -cf $OUT ."), agree],
  "GNU tar, ustar": [made(".tar", "tar --format=ustar -cf $OUT --exclude=état* ."), agree],
  "GNU tar, old GNU": [made(".tar", "tar --format=oldgnu -cf $OUT ."), agree],
  "GNU tar, V7": [made(".tar", "tar --format=v7 -cf $OUT 0000000001.ckpt deeper"), agree],
  "GNU tar, with a label": [made(".tar", "tar -V label -cf $OUT ."), agree],
  "GNU tar, added to": [made(".tar", "tar -cf $OUT receipts && tar -rf $OUT *.ckpt deeper"), agree],
  "GNU tar, a file twice": [made(".tar", "tar -cf $OUT *.ckpt && tar -rf $OUT 0000000001.ckpt"), ambiguous],
  "GNU tar, two joined": [made(".tar", "tar -cf $OUT receipts && tar -cf $OUT.1 *.ckpt && cat $OUT.1 >> $OUT && rm $OUT.1"), ambiguous],
  "GNU tar, incremental": [made(".tar", "tar -g $OUT.list --format=gnu -cf $OUT deeper && rm $OUT.list"), ambiguous],
  "GNU tar, links": [made(".tar", "ln -s 0000000001.ckpt latest && tar -cf $OUT . ; rm latest"), agree],
  "GNU tar, a link named as a checkpoint": [made(".tar", "ln -s receipts 9.ckpt && tar -cf $OUT . ; rm 9.ckpt"), ambiguous],
  "GNU tar, a hard link named as a checkpoint": [made(".tar", "ln 0000000001.ckpt 9.ckpt && tar -cf $OUT . ; rm 9.ckpt"), ambiguous],
  "GNU tar, with holes": [made(".tar", "truncate -s 1M hole.ckpt && tar -S --format=gnu -cf $OUT . ; rm hole.ckpt"), unsupported("of the kind")],
  "GNU tar, with holes, pax": [made(".tar", "truncate -s 1M hole.ckpt && tar -S --format=posix -cf $OUT . ; rm hole.ckpt"), unsupported("sparse|holes")],
  "bsdtar": [made(".tar", "bsdtar -cf $OUT *"), agree],
  "bsdtar, compressed": [made(".tgz", "bsdtar -czf $OUT *"), agree],
  "bsdtar, pax": [made(".tar", "bsdtar --format pax -cf $OUT *"), agree],
  "bsdtar, GNU": [made(".tar", "bsdtar --format gnutar -cf $OUT *"), agree],
  "bsdtar, V7": [made(".tar", "bsdtar --format v7tar -cf $OUT 0000000001.ckpt receipts"), agree],
  "bsdtar, xz": [made(".tar", "bsdtar -cJf $OUT *"), unsupported("xz")],
  "bsdtar, bzip2": [made(".tar", "bsdtar -cjf $OUT *"), unsupported("bzip2")],
  "bsdtar, Zstandard": [made(".tar", "bsdtar --zstd -cf $OUT *"), unsupported("Zstandard")],
  "Python": [made(".tar", py(`with tarfile.open(out, "w") as t: t.add(".")`)), agree],
  "Python, compressed": [made(".tar.gz", py(`with tarfile.open(out, "w:gz") as t: t.add(".", "life")`)), "life/"],
  "Python, GNU": [made(".tar", py(`with tarfile.open(out, "w", format=tarfile.GNU_FORMAT) as t: t.add(".", "life")`)), "life/"],
  "Python, a long extended attribute": [made(".tar", py(`with tarfile.open(out, "w") as t:\n  i = t.gettarinfo("0000000001.ckpt")\n  i.pax_headers = {"LIBARCHIVE.xattr.user.x": "x" * 70000, "SCHILY.xattr.user.x": "x" * 70000}\n  t.addfile(i, open(i.name, "rb"))`)), agree],
  "7z": [made(".tar", "7z a -bd -ttar $OUT . >/dev/null"), agree],
  "git archive": [made(".tar", "git init -q g && cp *.ckpt g && cd g && git add . && git -c user.name=a -c user.email=a@b commit -qm a && git archive HEAD > $OUT ; cd .. ; rm -rf g"), agree],
  "gzip in members": [made(".tar.gz", "tar -cf $OUT.1 . && split -b 40000 $OUT.1 $OUT.part && for p in $OUT.part*; do gzip -nc $p >> $OUT; done; rm $OUT.1 $OUT.part*"), agree],
  "zeros after gzip": [made(".tar.gz", "tar -czf $OUT . && head -c 5000 /dev/zero >> $OUT"), agree],
  "other bytes after gzip": [made(".tar.gz", "tar -czf $OUT . && echo hello >> $OUT"), ambiguous],
  "bytes after zeros after gzip": [made(".tar.gz", "tar -czf $OUT . && head -c 100 /dev/zero >> $OUT && gzip -c receipts >> $OUT"), ambiguous],
  "gzip, with a wrong checksum": [byHand(".tar.gz", () => { const gz = gzipSync(tarOf([ckpt()])); gz[gz.length - 6] ^= 1; return gz; }), /damaged/],
  "gzip, cut": [byHand(".tar.gz", () => gzipSync(tarOf([ckpt()])).subarray(0, -4)), /cut/],
  "a bomb": [byHand(".tar.gz", () => bomb()), /more than 1 GiB/],

  "a pax size that is the header's": [byHand(".tar", () => tarOf([ckpt(good, { pax: { size: "400" } })])), agree],
  "a pax size that is another": [byHand(".tar", () => tarOf([{ ...ckpt(Buffer.concat([good, Buffer.alloc(112), tarOf([{ name: "2.ckpt", data: other }], Buffer.alloc(0))])), size: 400, pax: { size: String(512 + 512 + 400) } }])), ambiguous],
  "a pax size for all": [byHand(".tar", () => Buffer.concat([paxHeader({ size: "100" }, "g"), tarOf([ckpt()])])), ambiguous],
  "a pax path for all": [byHand(".tar", () => Buffer.concat([paxHeader({ path: "2.ckpt" }, "g"), tarOf([ckpt()])])), ambiguous],
  "two pax paths": [byHand(".tar", () => Buffer.concat([paxHeader({ path: "2.ckpt" }), tarOf([ckpt(good, { pax: { path: "3.txt" } })])])), ambiguous],
  "a pax path and a long name": [byHand(".tar", () => Buffer.concat([entryOf({ name: "././@LongLink", type: "L", data: Buffer.from("2.ckpt\0") }), tarOf([ckpt(good, { pax: { path: "3.txt" } })])])), ambiguous],
  "a pax size by the name of star": [byHand(".tar", () => tarOf([ckpt(good, { pax: { "SCHILY.realsize": "7" } })])), unsupported("metadata.*SCHILY.realsize")],
  "pax metadata of an unknown kind": [byHand(".tar", () => tarOf([ckpt(good, { pax: { "SUN.holesdata": " 0 100 " } })])), unsupported("metadata.*SUN.holesdata")],
  "a label named as a checkpoint": [byHand(".tar", () => tarOf([ckpt(), { name: "2.ckpt", type: "V" }])), ambiguous],
  "a pax path that is empty": [byHand(".tar", () => tarOf([ckpt(good, { pax: { path: "" } })])), ambiguous],
  "a pax path with a zero byte": [byHand(".tar", () => tarOf([ckpt(good, { pax: { path: "1.ckpt\0.txt" } })])), ambiguous],
  "pax records that are none": [byHand(".tar", () => Buffer.concat([entryOf({ name: "x", type: "x", data: Buffer.from("99 path=2.ckpt\n") }), tarOf([ckpt()])])), /damaged/],
  "a file of an unknown kind": [byHand(".tar", () => tarOf([ckpt(), { name: "2.ckpt", data: other, type: "Q" }])), unsupported("of the kind")],
  "a link with a content": [byHand(".tar", () => tarOf([ckpt(), { name: "a", data: tarOf([{ name: "2.ckpt", data: other }], Buffer.alloc(0)), type: "1", link: "1.ckpt" }])), ambiguous],
  "a folder with a content": [byHand(".tar", () => tarOf([ckpt(), { name: "d", data: tarOf([{ name: "2.ckpt", data: other }], Buffer.alloc(0)), type: "5" }])), ambiguous],
  "a folder in the old form with a content": [byHand(".tar", () => tarOf([ckpt(), { name: "d/", data: other }])), ambiguous],
  "a file whose name ends as a folder's": [byHand(".tar", () => tarOf([ckpt(), { name: "2.ckpt/" }])), ambiguous],
  "a device named as a checkpoint": [byHand(".tar", () => tarOf([ckpt(), { name: "2.ckpt", type: "6" }])), ambiguous],
  "a front of a name that only some read": [byHand(".tar", () => tarOf([ckpt(good, { magic: "ustar  \0", prefix: "x" })])), ambiguous],
  "a front of a name": [byHand(".tar", () => tarOf([ckpt(good, { prefix: "x" })])), agree],
  "after a block of zeros, more": [byHand(".tar", () => Buffer.concat([tarOf([ckpt()], Buffer.alloc(512)), tarOf([{ name: "2.ckpt", data: other }])])), ambiguous],
  "no end": [byHand(".tar", () => tarOf([ckpt()], Buffer.alloc(0))), agree],
  "one block of zeros as its end": [byHand(".tar", () => tarOf([ckpt()], Buffer.alloc(512))), agree],
  "a name that leads out": [byHand(".tar", () => tarOf([ckpt(), { name: "../2.ckpt", data: other }])), ambiguous],
  "a name from the root": [byHand(".tar", () => tarOf([ckpt(), { name: "/tmp/2.ckpt", data: other }])), ambiguous],
  "a time that is no number": [byHand(".tar", () => { const tar = tarOf([{ name: "2.ckpt", data: other }, ckpt()]); tar.write("0.", 1024 + 136); return Buffer.concat([tar.subarray(0, 1024), fixSum(tar.subarray(1024))]); }), ambiguous],
  "an owner that is no number": [byHand(".tar", () => { const tar = tarOf([ckpt()]); tar.write("9", 110); return fixSum(tar); }), ambiguous],
  "a device that is no number": [byHand(".tar", () => { const tar = tarOf([ckpt()]); tar.write("x", 330); return fixSum(tar); }), ambiguous],
  "numbers that are blank, or negative": [byHand(".tar", () => { const tar = tarOf([ckpt()]); tar.fill(" ", 108, 116); tar.fill(0xff, 136, 148); return fixSum(tar); }), agree],
  "a name too long for file systems": [byHand(".tar", () => tarOf([ckpt(), { name: "x", data: other, pax: { path: `${"x".repeat(251)}.ckpt` } }])), ambiguous],
  "two names that are one on Windows": [byHand(".tar", () => tarOf([{ name: "1_.ckpt", data: good }, { name: "1?.ckpt", data: other }])), ambiguous],
  "a size that is no number": [byHand(".tar", () => { const tar = tarOf([ckpt()]); tar.write("12x", 124); return fixSum(tar); }), /damaged/],
  "a wrong checksum": [byHand(".tar", () => { const tar = tarOf([ckpt()]); tar[1] ^= 1; return tar; }), /damaged/],
  "an empty archive": [byHand(".tar", () => tarOf([])), /empty/],
};

test("zip: small files are read many at once", async () => {
  const blob = new Blob([zipOf(Array.from({ length: 1000 }, (_, i) => ({ name: `${i}.ckpt`, data: Buffer.from(`${i}`), method: i % 2 ? 8 : 0 })))]);
  let reads = 0;
  const slice = blob.slice.bind(blob);
  blob.slice = (...range) => (reads++, slice(...range));
  let files = 0;
  for await (const { name, bytes } of unpack("zip", "given", blob, new AbortController().signal)) {
    assert.equal(`${Buffer.from(bytes)}.ckpt`, name);
    files++;
  }
  assert.equal(files, 1000);
  assert.ok(reads <= 10, `${reads} reads`);
});

test("gzip: what is named as a checkpoint is one, as gunzip has it", async () => {
  const ofGzip = async (name, bytes) => {
    const entries = {};
    for await (const { name: inner, bytes: content } of unpack("gzip", name, new Blob([bytes]), new AbortController().signal)) {
      entries[inner] = Buffer.from(content instanceof Blob ? await content.arrayBuffer() : content);
    }
    return entries;
  };
  const tar = tarOf([ckpt()]);
  const marked = Buffer.alloc(600, 4);
  marked.write("ustar", 257, "latin1");
  for (const content of [tar, marked, good]) assert.deepEqual(await ofGzip("life.ckpt.gz", gzipSync(content)), { "life.ckpt": content });
  await assert.rejects(ofGzip("life.car.gz", gzipSync(tar)), ambiguous);
  // However small the pieces are in which it comes.
  const members = Buffer.concat(Array.from(tar, (_, i) => (i < 300 ? gzipSync(tar.subarray(i, i + 1)) : Buffer.alloc(0))).concat(gzipSync(tar.subarray(300))));
  assert.deepEqual(await ofGzip("life.gz", members), { "1.ckpt": good });
});

/** A gzip stream, of members, that unpacks to a tar of over 1 GiB that has no checkpoint. */
function bomb() {
  const member = gzipSync(Buffer.alloc(64 << 20), { level: 9 });
  return Buffer.concat([gzipSync(tarHeader("zeros", 17 * (64 << 20))), ...Array.from({ length: 17 }, () => member)]);
}

function fixSum(tar) {
  tar.fill(" ", 148, 156);
  const sum = tar.subarray(0, 512).reduce((a, b) => a + b, 0);
  tar.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return tar;
}

for (const [family, all, readers] of [["zip", zips, zipReaders], ["tar", tars, tarReaders]]) {
  test(`${family}: ${Object.keys(all).length} archives, as other programs unpack them`, async (t) => {
    let compared = 0;
    for (const [name, [make, outcome]] of Object.entries(all)) await t.test(name, async () => {
      const file = await make(`${family} ${name}`);
      const bytes = await readFile(file);
      const kind = await archiveKind(file, new Blob([bytes]));
      let page;
      let error;
      try {
        page = await unpacked(kind, bytes);
      } catch (thrown) {
        error = thrown;
      }
      if (outcome instanceof RegExp) {
        assert.ok(error, `${name}: the page took ${Object.keys(page ?? {})}`);
        assert.equal(error.name, "VerifyError", `${name}: ${error.stack}`);
        assert.match(error.message, outcome, name);
      } else {
        assert.ok(!error, `${name}: ${error?.stack}`);
        const agreeing = await compare(file, readers, page);
        assert.ok(agreeing >= 2, `${name}: only ${agreeing} programs unpack it`);
        compared += agreeing;
        if (/^(Info-ZIP|Python|7z|bsdtar)$/.test(name)) {
          const expected = Object.fromEntries(Object.entries(wanted).map(([path, content]) => [path, content.toString("latin1")]));
          assert.deepEqual(plain(page), plain(expected), name);
        }
      }
    });
    t.diagnostic(`${compared} times another program's files were the page's`);
  });
}

/** The most that deflate makes of one byte. */
const maxRatio = 1032;

// SEED begins elsewhere; a failure names its own. ROUNDS is how many times as long to go on: make soak does.
const first = Number(process.env.SEED ?? 1);
const times = Number(process.env.ROUNDS ?? 1);
const rounds = 300 * times;

const files = {
  "0000000001.ckpt": Buffer.alloc(300, 1),
  "life/with-a-long-name/0000000002.ckpt": Buffer.from(Array.from({ length: 20_000 }, (_, i) => (i * i) & 0xff)),
  "readme.txt": Buffer.from("not a checkpoint"),
  "0000000003.ckpt": Buffer.alloc(0),
};
const packed = () => {
  const tar = tarOf(Object.entries(files).map(([name, data]) => ({ name: name.slice(-20), data, pax: { path: name } })));
  const zip = zipOf(Object.entries(files).map(([name, data], i) => ({ name, data, method: i % 2 === 0 ? 0 : 8, descriptor: i > 1 })));
  return { zip, tar, gzip: gzipSync(tar) };
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
      () => void all.fill([0, 0xff][n(2)], at, Math.min(at + 1 + n(8), all.length)),
      () => all.subarray(0, at),
      () => Buffer.concat([all.subarray(0, at), all.subarray(at + some.length)]),
      () => Buffer.concat([all.subarray(0, at), some, all.subarray(at)]),
    ];
    all = kinds[n(kinds.length)]() ?? all;
  }
  return all;
}

for (const kind of ["zip", "tar", "gzip"]) {
  test(`${kind}, whole and with random damage`, async () => {
    const bytes = packed()[kind];
    assert.equal(await archiveKind("unnamed", new Blob([bytes])), kind);
    const whole = await unpacked(kind, bytes);
    const expected = Object.entries(files).filter(([name]) => name.endsWith(".ckpt"));
    assert.deepEqual(whole, Object.fromEntries(expected.map(([name, content]) => [name, content.toString("latin1")])));
    let refused = 0;
    for (let seed = first; seed < first + rounds; seed++) {
      const changed = damaged(bytes, random(seed));
      try {
        let total = 0;
        for (const [name, content] of Object.entries(await unpacked(kind, changed))) {
          assert.match(name, /\.(ckpt|car)$/s);
          total += content.length;
        }
        assert.ok(total <= changed.length * maxRatio, `${total} bytes of ${changed.length}`);
      } catch (error) {
        assert.equal(error.name, "VerifyError", `SEED=${seed}: ${error.stack}`);
        assert.ok(["unreadable", "too-large"].includes(error.code) && error.path?.startsWith("given"), `SEED=${seed}: ${error.stack}`);
        refused++;
      }
    }
    // Where checksums are, all damage is seen.
    assert.ok(refused > 0 && (kind !== "tar" || refused < rounds), `${refused} of ${rounds} were refused`);
  });
}

// Archives whose checksums are right, and of which something else may not be.

/** An odd thing, one time in so many, or else what is usual. */
const seldom = (n, of, odd, usual) => (n(of) === 0 ? odd[n(odd.length)] : usual);

const names = ["a.ckpt", "b.ckpt", "life/c.ckpt", "deep/er/d.ckpt", "e.txt"];
const oddNames = ["a.ckpt", "A.ckpt", "./b.ckpt", "life//c.ckpt", "life/../b.ckpt", "/b.ckpt", "../b.ckpt", "life", "life/", "b.ckpt/", "b.ckpt ", "b.ckpt.", "life\\c.ckpt", "a.ckpt\0.txt", "", ".", "C:b.ckpt", "b.ck\x01pt", "\u202eb.ckpt", "a\nb.ckpt"];

function anyZip(n) {
  const entries = Array.from({ length: 1 + n(4) }, (_, i) => {
    const data = state(n(1 << 20), n(3000));
    const says = () => [{ size: data.length + 1 }, { size: 0 }, { packed: 0 }, { packed: data.length + 1 }, { crc: 1 }, { crc: 0 }, { method: 0 }, { method: 8 }, { flags: 0 }, { flags: 8 }, { flags: 1 }, { flags: 0x800 }, { name: names[n(5)] }, { name: oddNames[n(oddNames.length)] }][n(14)];
    const extra = () => [Buffer.from([1, 0, 0, 0]), Buffer.from([1, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0]), Buffer.from("up\x0b\0\x01\0\0\0\0b.ckpt", "latin1"), Buffer.from([0x55, 0x54, 5, 0, 3, 1, 2, 3, 4]), Buffer.from([9, 9, 200, 0]), Buffer.from([0])][n(6)];
    return {
      name: seldom(n, 12, oddNames, names[i]),
      data,
      method: n(2) * 8,
      flags: seldom(n, 15, [0x800, 2, 4, 0x20, 0x2000, 1], 0),
      descriptor: seldom(n, 9, [true, descriptorOf({ crc: 0, packed: data.length, size: data.length }), Buffer.alloc(12)], undefined),
      attributes: seldom(n, 20, [0x41ed_0010, 0xa1ff_0000, 0x0000_0010, 0, 0x1180_0000], 0x81a4_0000),
      made: seldom(n, 6, [0, 0x14, 0x0a14, 0x131e], 0x031e),
      ...(n(20) === 0 && { local: says() }),
      ...(n(20) === 0 && { central: says() }),
      ...(n(12) === 0 && { extra: extra() }),
      ...(n(12) === 0 && { localExtra: extra() }),
      ...(n(30) === 0 && { before: Buffer.alloc(1 + n(40), "x") }),
      ...(n(30) === 0 && { listed: false }),
      ...(i > 0 && n(30) === 0 && { offset: 0 }),
    };
  });
  return zipOf(entries, {
    ...(n(8) === 0 && { comment: Buffer.from(["a comment", "PK\x05\x06", "x".repeat(70)][n(3)]) }),
    ...(n(12) === 0 && { count: n(6) }),
    ...(n(12) === 0 && { after: Buffer.alloc(1 + n(30)) }),
    ...(n(12) === 0 && { before: Buffer.alloc(1 + n(30)) }),
    ...(n(12) === 0 && { beforeEnd: zip64End({ count: entries.length }) }),
  });
}

function anyTar(n) {
  const entries = Array.from({ length: 1 + n(4) }, (_, i) => {
    const data = state(n(1 << 20), n(3000));
    const type = seldom(n, 5, ["\0", "1", "2", "3", "5", "6", "7", "L", "K", "S", "V", "M", "D", "A", "g", " "], "0");
    const pax = () => [{ path: names[n(5)] }, { path: oddNames[n(oddNames.length)] }, { size: String(data.length) }, { size: "5" }, { size: "-1" }, { size: "0x5" }, { mtime: "1.5" }, { linkpath: "a.ckpt" }, { "GNU.sparse.size": "5" }, { "GNU.sparse.name": "b.ckpt", "GNU.sparse.major": "1", "GNU.sparse.minor": "0" }, { hdrcharset: "BINARY" }, { comment: "x" }, { path: "" }, { path: Buffer.from([0x61, 0xff]) }][n(14)];
    return {
      name: seldom(n, 5, oddNames, names[i]),
      data: type === "L" ? Buffer.from(["b.ckpt\0", "b.ckpt", "\0"][n(3)]) : data,
      type,
      ...(n(5) === 0 && { pax: pax() }),
      ...(n(12) === 0 && { size: n(2000) }),
      ...(n(8) === 0 && { magic: ["ustar  \0", "\0\0\0\0\0\0\0\0", "ustar\0\0\0", "ustar 00"][n(4)] }),
      ...(n(8) === 0 && { prefix: ["life", "life/", "/", "..", "x".repeat(155)][n(5)] }),
      ...(n(8) === 0 && { link: ["a.ckpt", "b.ckpt", "/etc/hosts"][n(3)] }),
    };
  });
  return tarOf(entries, seldom(n, 6, [Buffer.alloc(0), Buffer.alloc(512), Buffer.alloc(10_240), Buffer.alloc(1024, 1), Buffer.alloc(700)], Buffer.alloc(1024)));
}

for (const [kind, make, readers] of [
  ["zip", anyZip, zipReaders],
  ["tar", anyTar, tarReaders],
]) {
  test(`${kind}s with anything in them: the page has what other programs unpack, or nothing`, async (t) => {
    let read = 0;
    let compared = 0;
    const most = 40 * times;
    for (let seed = first; seed < first + most; seed++) {
      const bytes = make(random(seed));
      let page;
      try {
        page = await unpacked(kind, bytes);
      } catch (error) {
        assert.equal(error.name, "VerifyError", `SEED=${seed}: ${error.stack}`);
        continue;
      }
      read++;
      const file = join(work, `seed-${seed}.${kind}`);
      await writeFile(file, bytes);
      try {
        compared += await compare(file, readers, page);
      } catch (error) {
        error.message = `SEED=${seed}: ${error.message}`;
        throw error;
      }
      await rm(file);
    }
    t.diagnostic(`${read} of ${most} were read, and ${compared} times another program's files were the page's`);
    assert.ok(read > 0 && read < most && compared >= read, `${read} of ${most} were read, ${compared} compared`);
  });
}
