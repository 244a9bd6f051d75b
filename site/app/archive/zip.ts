// Zip archives, as their central directory has them. zip.js reads the structure,
// strictly; what any other program could read differently is refused here.

import { ZipReader, type Entry as ZipEntry, type FileEntry } from "@zip.js/zip.js/lib/zip-core-reader.js";
import { VerifyError } from "../../verify/error.ts";
import { Collector, pieces, read, type Entry } from "./entry.ts";
import { crc32, inflate } from "./inflate.ts";
import type { Limits } from "./limits.ts";
import { isWanted, decodeName, Names } from "./names.ts";

/** Methods of compression, by their number in a zip archive. */
const stored = 0;
const deflated = 8;
const methods: Readonly<Record<number, string>> = {
  1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 96: "JPEG", 97: "WavPack", 98: "PPMd", 99: "AES",
};

/** The records at the end: of the directory, of its zip64 form, and what says where that is. */
const endSize = 22;
const zip64EndSize = 56;
const zip64LocatorSize = 20;

const all16 = 0xffff;
const all32 = 0xffffffff;

/** A name in an extra field: valid if it belongs to the one in the record. */
interface UnicodePath {
  filename?: string;
  valid: boolean;
}

/** What zip.js says of an entry's own header, which its types do not have. */
interface LocalHeader {
  rawExtraField: Uint8Array;
  extraFieldUnicodePath?: UnicodePath;
  dataOffset: number;
  compressedSize: number;
  uncompressedSize: number;
  crc32: number;
  bitFlag: { dataDescriptor: boolean };
  dataDescriptor?: { zip64: boolean; signature: boolean; crc32: number; compressedSize: number; uncompressedSize: number };
}

/** An entry, and where it is in the file. */
interface Place {
  entry: FileEntry;
  name: string;
  from: number;
  to: number;
  data: number;
  described: boolean;
}

export async function* unzip(blob: Blob, limits: Limits, signal: AbortSignal): AsyncGenerator<Entry> {
  const source = new Window(blob, limits);
  const reader = new ZipReader(source as never, { strictness: "strict", filenameValidation: "tolerant", useWebWorkers: false });
  const places = await known(limits, () => structure(reader, source, blob, limits, signal));
  const data = new Window(blob, limits); // in which the files follow each other
  for (const place of places) {
    signal.throwIfAborted();
    const { entry, name, described } = place;
    const wanted = isWanted(name);
    if (!wanted) yield { name };
    // What a descriptor describes has its end where a program finds it that does not know the directory.
    if (!wanted && !described) continue;
    if (entry.encrypted || (entry as { extraFieldAES?: object }).extraFieldAES) {
      if (wanted) throw limits.unsupported("it is encrypted", "unpack it with its password, and give the folder");
      continue;
    }
    const method = entry.compressionMethod;
    if (method !== stored && method !== deflated) {
      if (wanted) throw limits.unsupported(`it is compressed by ${methods[method] ?? `the method ${method}`}, which this page does not know`);
      continue;
    }
    const file = await content(blob, data, place, limits, signal, wanted);
    if (file) yield file;
  }
}

/** Reads the whole structure. Every byte of the file has to be of one record, and every record in the directory. */
async function structure(reader: ZipReader<unknown>, source: Window, blob: Blob, limits: Limits, signal: AbortSignal): Promise<Place[]> {
  const entries: ZipEntry[] = [];
  for await (const entry of reader.getEntriesGenerator()) {
    signal.throwIfAborted();
    limits.entry();
    entries.push(entry);
  }
  if (entries.length === 0) throw limits.unsupported("it is an empty zip archive", "ask for the file again");
  const directory = { offset: reader.directoryOffset!, length: reader.directoryLength!, entries: entries.length };
  await checkEnd(blob, directory, reader.comment.length, limits);

  // A name may be there in two forms, of which programs use one or the other.
  const names = new Names(limits);
  const rawNames = new Names(limits);
  const places: Place[] = [];
  entries.sort((a, b) => a.offset - b.offset);
  for (const entry of entries) {
    signal.throwIfAborted();
    const kind = kindOf(entry, limits);
    const rawName = decodeName(entry.rawFilename);
    const name = names.add(entry.filename, kind);
    if (isWanted(rawNames.add(rawName, kind)) !== isWanted(name)) throw limits.ambiguous(`${name} has another name too`);
    const place = await locate(entry as FileEntry, name, limits);
    const expected = places.at(-1)?.to ?? 0;
    if (place.from !== expected) throw limits.ambiguous(place.from > expected ? "it has records that its directory does not list" : "its records overlap");
    places.push(place);
  }
  if (places.at(-1)!.to !== directory.offset) throw limits.ambiguous("it has records that its directory does not list");
  return places.filter(({ entry }) => !entry.filename.endsWith("/"));
}

function kindOf({ filename, externalFileAttributes, uncompressedSize, rawBitFlag, diskNumberStart }: ZipEntry, limits: Limits): "file" | "folder" | "link" {
  const patched = 0x20;
  if ((rawBitFlag ?? 0) & patched) throw limits.unsupported("it has patches in the place of files");
  if (diskNumberStart !== 0) throw limits.ambiguous(`${filename} is said to be in another file`);
  const type = (externalFileAttributes >>> 16) & 0xf000;
  const [folder, regular, dosFolder, dosLink] = [0x4000, 0x8000, 0x10, 0x400];
  const slash = /\/$/.test(filename);
  if (slash) {
    if (uncompressedSize > 0) throw limits.ambiguous(`the folder ${filename} has a content`);
    return "folder";
  }
  if (type === folder || externalFileAttributes & dosFolder) {
    if (/\.(ckpt|car)$/i.test(filename)) throw limits.ambiguous(`${filename} is a folder to some programs`);
    return "folder";
  }
  return (type !== 0 && type !== regular) || externalFileAttributes & dosLink ? "link" : "file";
}

/** Finds an entry's bytes, and holds what stands before and behind them against the directory. */
async function locate(entry: FileEntry, name: string, limits: Limits): Promise<Place> {
  await entry.getData(undefined as never, { checkOverlappingEntryOnly: true, passThrough: true });
  const { localDirectory: local, extraFieldUnicodePath: path } = entry as unknown as { localDirectory: LocalHeader; extraFieldUnicodePath?: UnicodePath };
  for (const extra of [entry.rawExtraField, local.rawExtraField]) checkExtra(extra, name, limits);
  for (const { valid, filename } of [path, local.extraFieldUnicodePath].filter((path) => path !== undefined)) {
    if (filename !== (valid ? entry.filename : decodeName(entry.rawFilename))) throw limits.ambiguous(`${name} has another name too`);
  }
  const differs = (of: { compressedSize: number; uncompressedSize: number; crc32?: number }) =>
    of.compressedSize !== entry.compressedSize || of.uncompressedSize !== entry.uncompressedSize || (entry.crc32 !== undefined && of.crc32 !== entry.crc32);
  const described = local.bitFlag.dataDescriptor;
  let to = local.dataOffset + entry.compressedSize;
  const wrong = () => limits.ambiguous(`${name} has two sizes or checksums`);
  if (described) {
    const descriptor = local.dataDescriptor;
    if (!descriptor || differs(descriptor)) throw wrong();
    // Before the data each is zero, or the same.
    for (const part of ["compressedSize", "uncompressedSize", "crc32"] as const) {
      if (local[part] !== 0 && local[part] !== entry[part]) throw wrong();
    }
    to += (descriptor.zip64 ? 20 : 12) + (descriptor.signature ? 4 : 0);
  } else if (differs(local)) throw wrong();
  return { entry, name, from: entry.offset, to, data: local.dataOffset, described };
}

/** Refuses extra fields of which programs could take one or another: for sizes and names there is one each at most. */
function checkExtra(extra: Uint8Array, name: string, limits: Limits): void {
  const decisive = [0x0001, 0x7075];
  const view = new DataView(extra.buffer, extra.byteOffset, extra.length);
  const seen = new Set<number>();
  for (let at = 0; at + 4 <= extra.length; at += 4 + view.getUint16(at + 2, true)) {
    const id = view.getUint16(at, true);
    const isCut = at + 4 + view.getUint16(at + 2, true) > extra.length;
    if (isCut || (decisive.includes(id) && seen.has(id))) throw limits.ambiguous(`${name} has extra fields that contradict each other, or are cut`);
    seen.add(id);
  }
}

/** Reads an entry's content. Of one that is not wanted, nothing is kept. */
async function content(blob: Blob, window: Window, { entry, name, data, described }: Place, limits: Limits, signal: AbortSignal, wanted: boolean): Promise<Entry | undefined> {
  limits.checkpoint(name, entry.uncompressedSize);
  const collector = new Collector(name, limits);
  const packed = entry.compressedSize;
  const input = packed < windowSize ? window.pieces(data, packed) : pieces(blob, limits, signal, data, data + packed);
  let crc = 0;
  let size = 0;
  const take = (bytes: Uint8Array) => {
    limits.bytes(bytes.length);
    size += bytes.length;
    if (size > entry.uncompressedSize) throw limits.damaged(`it is damaged: ${name} is larger than it says`);
    crc = crc32(bytes, crc);
    if (wanted) collector.push(bytes);
  };
  if (entry.compressionMethod === deflated) {
    let whole: boolean;
    try {
      whole = await inflate(input, entry.uncompressedSize, take);
    } catch (cause) {
      signal.throwIfAborted();
      throw cause instanceof VerifyError ? cause : limits.damaged(`it is damaged: ${name} cannot be unpacked`, cause);
    }
    if (!whole) throw limits.ambiguous(`${name} ends before its size says`);
  } else {
    const search = described ? new Search() : undefined;
    for await (const piece of input) {
      take(piece);
      if (search?.finds(piece)) throw limits.ambiguous(`${name} seems to end in its middle`);
    }
  }
  if (size !== entry.uncompressedSize || crc !== entry.crc32) throw limits.damaged(`it is damaged: ${name} is not what was packed`);
  return wanted ? collector.entry() : undefined;
}

/**
 * Searches stored data for what a program that does not know the directory would take for its end:
 * a descriptor, with the checksum of what is before it.
 */
class Search {
  #crc = 0;
  #held = new Uint8Array(); // the end of what was seen, in which a descriptor may begin

  finds(piece: Uint8Array): boolean {
    const bytes = new Uint8Array(this.#held.length + piece.length);
    bytes.set(this.#held);
    bytes.set(piece, this.#held.length);
    const view = new DataView(bytes.buffer);
    let done = 0;
    const last = bytes.length - 8; // where one may begin that is whole
    for (let at = bytes.indexOf(0x50); at >= 0 && at <= last; at = bytes.indexOf(0x50, at + 1)) {
      if (view.getUint32(at, true) !== 0x08074b50) continue;
      this.#crc = crc32(bytes.subarray(done, at), this.#crc);
      done = at;
      if (view.getUint32(at + 4, true) === this.#crc) return true;
    }
    const keep = Math.max(bytes.length - 7, done);
    this.#crc = crc32(bytes.subarray(done, keep), this.#crc);
    this.#held = bytes.slice(keep);
    return false;
  }
}

/** Holds all that the records at the end say against what was read: programs differ in which of it they believe. */
async function checkEnd(blob: Blob, directory: { offset: number; length: number; entries: number }, commentSize: number, limits: Limits): Promise<void> {
  const start = Math.max(0, blob.size - endSize - commentSize - zip64LocatorSize - zip64EndSize);
  const bytes = await read(blob, start, blob.size, limits);
  const view = new DataView(bytes.buffer);
  const end = blob.size - endSize - commentSize - start;
  const no = () => limits.ambiguous("the records at its end do not agree");
  const number = (at: number) => {
    const n = view.getBigUint64(at, true);
    if (n > BigInt(Number.MAX_SAFE_INTEGER)) throw no();
    return Number(n);
  };
  const is = (value: number, expected: number, unset: number) => {
    if (value !== expected && value !== unset) throw no();
  };
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50) throw no();
  is(view.getUint16(end + 4, true), 0, all16);
  is(view.getUint16(end + 6, true), 0, all16);
  is(view.getUint16(end + 8, true), directory.entries, all16);
  is(view.getUint16(end + 10, true), directory.entries, all16);
  is(view.getUint32(end + 12, true), directory.length, all32);
  is(view.getUint32(end + 16, true), directory.offset, all32);
  for (let at = end + endSize; at + 4 <= bytes.length; at++) {
    if (view.getUint32(at, true) === 0x06054b50) throw limits.ambiguous("its comment looks like the end of another archive");
  }
  let directoryEnd = start + end;
  const locator = end - zip64LocatorSize;
  if (locator >= 0 && view.getUint32(locator, true) === 0x07064b50) {
    const record = locator - zip64EndSize;
    directoryEnd = start + record;
    const recordRest = 12; // is not counted in its size
    if (record < 0 || view.getUint32(record, true) !== 0x06064b50 || number(record + 4) !== zip64EndSize - recordRest) throw no();
    is(view.getUint32(locator + 4, true), 0, 0);
    is(number(locator + 8), directoryEnd, directoryEnd);
    is(view.getUint32(locator + 16, true), 1, 0);
    is(view.getUint32(record + 16, true), 0, 0);
    is(view.getUint32(record + 20, true), 0, 0);
    is(number(record + 24), directory.entries, directory.entries);
    is(number(record + 32), directory.entries, directory.entries);
    is(number(record + 40), directory.length, directory.length);
    is(number(record + 48), directory.offset, directory.offset);
  }
  if (directory.offset + directory.length !== directoryEnd) throw no();
}

/** What zip.js calls ambiguous, in the page's words. */
const reasons: Readonly<Record<string, string>> = {
  "prepended data": "it has other bytes before its first record",
  "appended data": "it has other bytes after its end",
  "duplicate filename": "a name is in it twice",
  "multiple end of central directory records": "it has two ends",
  "trailing central directory data": "its directory is not as long as it says",
};

/** Says in the page's words what zip.js threw. */
async function known<T>(limits: Limits, f: () => Promise<T>): Promise<T> {
  try {
    return await f();
  } catch (error) {
    if (error instanceof VerifyError || (error instanceof DOMException && error.name === "AbortError")) throw error;
    const { message = "", reason } = error as { message?: string; reason?: string };
    if (message === "Ambiguous archive") throw limits.ambiguous(reasons[reason ?? ""] ?? "its records and its directory do not agree");
    if (message === "Overlapping entry found") throw limits.ambiguous("its records overlap");
    if (message === "Split zip file") throw limits.unsupported("it is one part of a zip archive in several", "put the parts together, unpack them, and give the folder");
    if (message === "Encrypted central directory is not supported") throw limits.unsupported("it is encrypted", "unpack it with its password, and give the folder");
    if (message === "End of central directory not found" || message === "File format is not recognized") throw limits.damaged("it is no zip archive, or cut", error);
    throw limits.damaged("it is damaged", error);
  }
}

/** So much of a blob is read at once: each read of a blob asks the browser's own process. */
const windowSize = 128 << 10;

/** A blob that is read through a window: zip.js asks for a few bytes at a time, and most files are small. */
class Window {
  readonly size: number;
  readonly #blob: Blob;
  readonly #limits: Limits;
  #at = 0;
  #bytes = new Uint8Array();

  constructor(blob: Blob, limits: Limits) {
    this.#blob = blob;
    this.#limits = limits;
    this.size = blob.size;
  }

  async readUint8Array(from: number, length: number): Promise<Uint8Array> {
    const to = Math.min(from + length, this.size);
    if (from < this.#at || to > this.#at + this.#bytes.length) {
      this.#bytes = await read(this.#blob, from, Math.min(Math.max(to, from + windowSize), this.size), this.#limits);
      this.#at = from;
    }
    return this.#bytes.slice(from - this.#at, to - this.#at);
  }

  async *pieces(from: number, length: number): AsyncGenerator<Uint8Array> {
    if (length > 0) yield await this.readUint8Array(from, length);
  }
}
