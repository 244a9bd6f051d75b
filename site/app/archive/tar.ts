// Tar archives: POSIX ustar and pax, GNU tar's long names, and the old form.
// Programs differ in what they make of odd ones, so odd ones are refused.

import { Collector, type Entry } from "./entry.ts";
import { decodeName, isWanted, Names } from "./names.ts";
import type { Limits } from "./limits.ts";

const block = 512;

/** Metadata of one entry has at most so many bytes. Extended attributes of macOS can be long. */
const maxMeta = 8 << 20;

/** Kinds of entries, by the byte that says it. */
const files = ["0", "\0", "7"];
const links = ["1", "2", "3", "4", "6"];
const folder = "5";
const volume = "V";
const [longName, longLink, pax, globalPax] = ["L", "K", "x", "g"];

/** Where numbers are in a header, besides the size: mode, owner, group, time, and a device's two. */
const numbers: readonly [from: number, to: number][] = [[100, 108], [108, 116], [116, 124], [136, 148], [329, 337], [337, 345]];

interface Header {
  name: string;
  size: number;
  type: string;
}

/** What stands before an entry and is about it. */
interface Meta {
  path?: string;
  size?: number;
  kinds: string[];
}

export async function* untar(input: AsyncIterable<Uint8Array>, limits: Limits): AsyncGenerator<Entry> {
  const entryNames = new Names(limits);
  const source = new Source(input);
  let meta: Meta = { kinds: [] };
  for (let first = true; ; first = false) {
    const header = await source.take(block);
    if (header.length === 0) {
      if (first) throw limits.damaged("it is empty");
      break; // some writers leave out the end
    }
    if (header.length < block) throw limits.damaged(first ? "it is not a tar archive" : "it is cut");
    if (header.every((byte) => byte === 0)) {
      if (first) throw limits.unsupported("it is an empty tar archive", "ask for the file again");
      await zerosOnly(source, limits);
      break;
    }
    limits.entry();
    const { name, size, type } = parseHeader(header, limits);
    const padding = (block - (size % block)) % block;
    if ([longName, longLink, pax, globalPax].includes(type)) {
      if (size > maxMeta) throw limits.damaged("it is damaged, or metadata in it is too long");
      if (type !== globalPax && meta.kinds.includes(type)) throw limits.ambiguous("an entry has two names");
      const bytes = await source.take(size + padding);
      if (bytes.length < size + padding) throw limits.damaged("it is cut");
      readMeta(type, bytes.subarray(0, size), meta, limits);
      continue;
    }
    const path = meta.path ?? name;
    if (meta.size !== undefined && meta.size !== size) throw limits.ambiguous(`${path} has two sizes`);
    // A name of 100 bytes may be cut there.
    const slashes = name.length < 100 || type === "\0" ? name.endsWith("/") : path.endsWith("/");
    if (slashes !== path.endsWith("/") && files.includes(type)) throw limits.ambiguous(`${path} is a folder to some programs`);
    meta = { kinds: [] };
    if (type === volume && size === 0) {
      entryNames.add(path, "link"); // to some programs it is an empty file
      continue;
    }
    if (!files.includes(type) && !links.includes(type) && type !== folder) {
      throw limits.unsupported(`${path} in it is of the kind ${JSON.stringify(type)}, which this page does not know`);
    }
    if (!files.includes(type) && size > 0) throw limits.ambiguous(`${path} is no file, but has a content`);
    const isFolder = type === folder || path.endsWith("/");
    const file = entryNames.add(path.replace(/\/+$/, ""), isFolder ? "folder" : links.includes(type) ? "link" : "file");
    if (isFolder && type !== folder && isWanted(file)) throw limits.ambiguous(`${file} is a folder to some programs`);
    if (isFolder && size > 0) throw limits.ambiguous(`the folder ${path} has a content`);
    const collector = !isFolder && isWanted(file) ? new Collector(file, limits) : undefined;
    limits.checkpoint(file, size);
    for (let left = size + padding; left > 0; ) {
      const part = await source.some(left);
      if (part.length === 0) throw limits.damaged("it is cut");
      collector?.push(part.subarray(0, Math.max(0, left - padding)));
      left -= part.length;
    }
    if (collector) yield collector.entry();
    else if (!isFolder) yield { name: file };
  }
  if (meta.kinds.length > 0) throw limits.damaged("it is cut");
}

/** After a block of zeros an archive ends, unless a program is told to go on. */
async function zerosOnly(source: Source, limits: Limits): Promise<void> {
  for (let part; (part = await source.some(Infinity)).length > 0; ) {
    if (part.some((byte) => byte !== 0)) throw limits.ambiguous("it has other bytes after its end");
  }
}

function parseHeader(header: Uint8Array, limits: Limits): Header {
  const field = (from: number, to: number) => {
    const bytes = header.subarray(from, to);
    const end = bytes.indexOf(0);
    return end < 0 ? bytes : bytes.subarray(0, end);
  };
  const text = (from: number, to: number) => decodeName(field(from, to));
  const latin1 = (from: number, to: number) => String.fromCharCode(...header.subarray(from, to));
  let [sum, signedSum] = [0, 0];
  header.forEach((byte, i) => {
    const counted = i >= 148 && i < 156 ? 0x20 : byte;
    sum += counted;
    signedSum += counted > 127 ? counted - 256 : counted;
  });
  const claimed = octal(latin1(148, 156));
  if (claimed !== sum && claimed !== signedSum) throw limits.damaged("it is not a tar archive, or damaged");

  const type = String.fromCharCode(header[156]!);
  const magic = latin1(257, 265);
  const isPosix = magic.startsWith("ustar\0");
  const isGNU = magic === "ustar  \0";
  const prefix = text(345, 500);
  if (!isPosix && !isGNU && magic !== "\0".repeat(8)) throw limits.unsupported("it is a tar archive of a form that this page does not know");
  // Only POSIX has the front part of long names there, but some programs do not look.
  if ((!isPosix || latin1(508, 512) === "tar\0") && header[345] !== 0) throw limits.ambiguous(`${text(0, 100)} has a name that depends on the form`);
  // What is unpacked does not depend on these, but some programs take one that is no number for the end.
  for (const [from, to] of numbers) {
    const number = header.subarray(from, to);
    if (number[0]! < 0x80 && !/^ *[0-7]*[ \0]*$/.test(latin1(from, to))) throw limits.ambiguous(`${text(0, 100)} has a header that is damaged`);
  }
  const isBlank = /^[ \0]*$/.test(latin1(124, 136)) && !files.includes(type); // as for a label
  const size = isBlank ? 0 : readSize(header.subarray(124, 136));
  if (size === undefined) throw limits.damaged("it is damaged: a size in it is not a number");
  return { name: (isPosix && prefix ? `${prefix}/` : "") + text(0, 100), size, type };
}

/** An octal number, with what writers put around it. */
function octal(text: string): number | undefined {
  const digits = /^ *([0-7]+)[ \0]*$/.exec(text)?.[1];
  return digits === undefined ? undefined : parseInt(digits, 8);
}

function readSize(field: Uint8Array): number | undefined {
  if (field[0] !== 0x80) return octal(String.fromCharCode(...field));
  let size = 0;
  for (const byte of field.subarray(1)) size = size * 256 + byte;
  return Number.isSafeInteger(size) ? size : undefined;
}

/** What of pax metadata has no part in what is unpacked, and under which name; any other could have. */
const harmless = /^(comment|[acm]time|[ug]id|[ug]name|charset|hdrcharset|(LIBARCHIVE|SCHILY)\.(xattr|acl|fflags|dev|ino|nlink|creationtime)\b.*|(RHT|APPLE|com\.apple|security|user)\..*)$/;
const decisive = new Set(["path", "size", "linkpath"]);

/** Reads what is about the next entry, or about all of them. */
function readMeta(type: string, bytes: Uint8Array, meta: Meta, limits: Limits): void {
  const setPath = (path: Uint8Array) => {
    const name = decodeName(path);
    if (name === "") throw limits.ambiguous("an entry has an empty name");
    if (meta.path !== undefined && meta.path !== name) throw limits.ambiguous(`${name} has another name too`);
    meta.path = name;
  };
  if (type !== globalPax) meta.kinds.push(type);
  if (type === longLink) return;
  if (type === longName) {
    const end = bytes.indexOf(0);
    return setPath(end < 0 ? bytes : bytes.subarray(0, end));
  }
  const seen = new Set<string>();
  for (const { key, value } of paxRecords(bytes, limits)) {
    if (harmless.test(key)) continue;
    if (!decisive.has(key) && !key.startsWith("GNU.sparse")) throw limits.unsupported(`it has metadata that this page does not know (${key})`);
    if (seen.has(key)) throw limits.ambiguous(`an entry has two values of ${key}`);
    seen.add(key);
    if (type === globalPax) throw limits.ambiguous(`it sets ${key} for all of its files`);
    if (key.startsWith("GNU.sparse")) throw limits.unsupported("it has a sparse file, with holes");
    if (key === "path") setPath(value);
    if (key === "size") {
      const digits = /^[0-9]{1,15}$/.exec(decodeName(value))?.[0];
      if (digits === undefined) throw limits.damaged("it is damaged: a size in it is not a number");
      meta.size = Number(digits);
    }
  }
}

/** Pax records, each: its own length in bytes, a space, key=value, a line feed. */
function* paxRecords(bytes: Uint8Array, limits: Limits): Generator<{ key: string; value: Uint8Array }> {
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? "" : decodeName(bytes.subarray(at, Math.min(space, at + 10)));
    const end = /^[0-9]{1,8}$/.test(digits) ? at + Number(digits) : 0;
    const equals = bytes.indexOf(0x3d, space);
    if (end <= equals || equals < 0 || end > bytes.length || bytes[end - 1] !== 0x0a) throw limits.damaged("it is damaged: its metadata cannot be read");
    yield { key: decodeName(bytes.subarray(space + 1, equals)), value: bytes.subarray(equals + 1, end - 1) };
    at = end;
  }
}

/** Bytes that come in pieces, taken in others. */
class Source {
  readonly #input: AsyncIterator<Uint8Array>;
  #piece: Uint8Array = new Uint8Array();

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#input = input[Symbol.asyncIterator]();
  }

  /** The next bytes, at most n, as they are there; none at the end. */
  async some(n: number): Promise<Uint8Array> {
    while (this.#piece.length === 0) {
      const { done, value } = await this.#input.next();
      if (done) return this.#piece;
      this.#piece = value;
    }
    const part = this.#piece.subarray(0, n);
    this.#piece = this.#piece.subarray(part.length);
    return part;
  }

  /** The next n bytes, fewer at the end. */
  async take(n: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(n);
    let filled = 0;
    for (let part; filled < n && (part = await this.some(n - filled)).length > 0; filled += part.length) bytes.set(part, filled);
    return bytes.subarray(0, filled);
  }
}
