// Unpacks archives a piece at a time, whatever their bytes are. What an archive
// says of itself is not believed: limits count what comes out of it.

import { Gunzip, Unzip, UnzipInflate } from "fflate";
import { VerifyError } from "../verify/error.ts";

/** How much may come out of an archive. A larger one is for a folder, which needs no memory. */
export const maxUnpacked = 1 << 30;

/** How many files an archive may have. */
export const maxEntries = 1 << 18;

/** The largest checkpoint: verifier.MaxCheckpointSize. */
const maxCheckpoint = 64 << 20;

const maxName = 4096;

/** How much of an archive is read at a time. It is small, since a piece may become a thousand times as large. */
const pieceSize = 16 << 10;

export type Kind = "zip" | "tar" | "tar.gz" | "car";

export interface Entry {
  name: string;
  bytes: Blob;
}

/** Tells an archive by its name, or, without a known one, by how it begins. Undefined is none. */
export async function archiveKind(name: string, blob: Blob): Promise<Kind | undefined> {
  const lower = name.toLowerCase();
  if (lower.endsWith(".ckpt")) return undefined;
  if (lower.endsWith(".car")) return "car";
  if (lower.endsWith(".zip")) return "zip";
  if (lower.endsWith(".tar.gz") || lower.endsWith(".tgz")) return "tar.gz";
  if (lower.endsWith(".tar")) return "tar";
  let start: Uint8Array;
  try {
    start = new Uint8Array(await blob.slice(0, 262).arrayBuffer());
  } catch {
    return undefined; // whoever reads it will say why it cannot be read
  }
  const begins = (...bytes: number[]) => bytes.every((byte, i) => start[i] === byte);
  if (begins(0x50, 0x4b, 3, 4) || begins(0x50, 0x4b, 5, 6)) return "zip";
  if (begins(0x1f, 0x8b)) return "tar.gz";
  if (begins(0x3a, 0xa2, 0x65)) return "car";
  if (new TextDecoder("latin1").decode(start.subarray(257, 262)) === "ustar") return "tar";
  return undefined;
}

/** Returns the archive's checkpoints, or if it has none its CARs. */
export async function* unpack(
  kind: Exclude<Kind, "car">,
  path: string,
  blob: Blob,
  signal: AbortSignal,
): AsyncGenerator<Entry> {
  const limits = new Limits(path);
  let cars: Entry[] = [];
  const entries = kind === "zip" ? unzip(blob, limits, signal) : untar(kind, blob, limits, signal);
  let checkpoints = false;
  for await (const entry of entries) {
    if (entry.name.endsWith(".car")) {
      if (!checkpoints) cars.push(entry);
      continue;
    }
    checkpoints = true;
    cars = [];
    yield entry;
  }
  yield* cars;
}

/** Counts what comes out of an archive. */
class Limits {
  #path: string;
  #bytes = 0;
  #entries = 0;

  constructor(path: string) {
    this.#path = path;
  }

  entry(): void {
    if (++this.#entries > maxEntries) throw this.fail(`it has more than ${maxEntries} files`, "unpack it, and give the folder");
  }

  bytes(n: number): void {
    this.#bytes += n;
    if (this.#bytes > maxUnpacked) throw this.fail("it unpacks to more than 1 GiB", "unpack it, and give the folder");
  }

  fail(problem: string, hint = "ask for the file again, or for the checkpoints themselves", cause?: unknown): VerifyError {
    return new VerifyError(
      problem.startsWith("it has more") || problem.startsWith("it unpacks") ? "too-large" : "unreadable",
      problem,
      { path: this.#path, hint, cause },
    );
  }

  tooLarge(name: string): VerifyError {
    return new VerifyError("too-large", "too large for a checkpoint, which has at most 64 MiB", {
      path: `${this.#path}/${name}`,
    });
  }
}

function wanted(name: string): boolean {
  return name.endsWith(".ckpt") || name.endsWith(".car");
}

/** Collects the bytes of one entry, within its limit. */
class Collector {
  readonly name: string;
  #limits: Limits;
  #parts: Uint8Array<ArrayBuffer>[] = [];
  #size = 0;

  constructor(name: string, limits: Limits) {
    this.name = name;
    this.#limits = limits;
  }

  push(bytes: Uint8Array): void {
    this.#size += bytes.length;
    if (this.#size > maxCheckpoint && this.name.endsWith(".ckpt")) throw this.#limits.tooLarge(this.name);
    // Blobs may leave memory for the disk; arrays of bytes do not.
    this.#parts.push(bytes.slice());
  }

  entry(): Entry {
    return { name: this.name, bytes: new Blob(this.#parts) };
  }
}

/** Reads a blob in pieces, and lets the page handle its events in between. */
async function* pieces(blob: Blob, limits: Limits, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < blob.size; at += pieceSize) {
    signal.throwIfAborted();
    let bytes: ArrayBuffer;
    try {
      bytes = await blob.slice(at, at + pieceSize).arrayBuffer();
    } catch (cause) {
      throw limits.fail("it cannot be read", "choose it again", cause);
    }
    yield new Uint8Array(bytes);
  }
}

async function* unzip(blob: Blob, limits: Limits, signal: AbortSignal): AsyncGenerator<Entry> {
  let ready: Entry[] = [];
  let failure: unknown;
  let open = 0;
  let seen = 0;
  const unzipper = new Unzip((file) => {
    limits.entry();
    seen++;
    if (!wanted(file.name) || file.name.length > maxName) return; // never inflated
    const collector = new Collector(file.name, limits);
    open++;
    file.ondata = (error, data, final) => {
      if (failure) return;
      if (error) {
        failure = limits.fail("it is damaged", undefined, error);
        return;
      }
      try {
        limits.bytes(data.length);
        collector.push(data);
      } catch (tooMuch) {
        failure = tooMuch;
        file.terminate();
        return;
      }
      if (final) {
        open--;
        ready.push(collector.entry());
      }
    };
    file.start();
  });
  unzipper.register(UnzipInflate);
  for await (const piece of pieces(blob, limits, signal)) {
    push(() => unzipper.push(piece, false), limits, failure);
    if (failure) throw failure;
    yield* ready;
    ready = [];
  }
  push(() => unzipper.push(new Uint8Array(), true), limits, failure);
  if (failure) throw failure;
  if (open > 0) throw limits.fail("it is cut");
  if (seen === 0) throw limits.fail("it is not a zip archive, or an empty one");
  yield* ready;
}

/** Calls a decompressor, which throws at what it cannot read. */
function push(f: () => void, limits: Limits, failure: unknown): void {
  try {
    f();
  } catch (error) {
    if (error instanceof VerifyError) throw error;
    if (failure) throw failure;
    throw limits.fail("it is damaged", undefined, error);
  }
}

async function* inflated(blob: Blob, limits: Limits, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let ready: Uint8Array[] = [];
  const gunzip = new Gunzip((data) => {
    limits.bytes(data.length);
    ready.push(data);
  });
  for await (const piece of pieces(blob, limits, signal)) {
    push(() => gunzip.push(piece, false), limits, undefined);
    yield* ready;
    ready = [];
  }
  push(() => gunzip.push(new Uint8Array(), true), limits, undefined);
  yield* ready;
}

const block = 512;

/** Reads a tar archive: POSIX ustar and pax, and GNU tar's long names. */
async function* untar(kind: "tar" | "tar.gz", blob: Blob, limits: Limits, signal: AbortSignal): AsyncGenerator<Entry> {
  const input = kind === "tar" ? pieces(blob, limits, signal) : inflated(blob, limits, signal);
  let header = new Uint8Array(block);
  let filled = 0;
  let left = 0; // of the entry's bytes
  let padding = 0; // after them
  let collector: Collector | undefined;
  let meta: { type: string; bytes: Uint8Array; at: number } | undefined;
  let longName = "";
  let seen = false;
  let ended = false;
  for await (let piece of input) {
    while (piece.length > 0 && !ended) {
      if (left > 0) {
        const part = piece.subarray(0, left);
        left -= part.length;
        collector?.push(part);
        if (meta) {
          meta.bytes.set(part, meta.at);
          meta.at += part.length;
        }
        piece = piece.subarray(part.length);
      } else if (padding > 0) {
        const skip = Math.min(padding, piece.length);
        padding -= skip;
        piece = piece.subarray(skip);
      } else {
        const part = piece.subarray(0, block - filled);
        header.set(part, filled);
        filled += part.length;
        piece = piece.subarray(part.length);
        if (filled < block) continue;
        filled = 0;
        if (header.every((byte) => byte === 0)) {
          ended = true;
          break;
        }
        const head = parseHeader(header, limits);
        seen = true;
        limits.entry();
        left = head.size;
        padding = (block - (head.size % block)) % block;
        meta = undefined;
        collector = undefined;
        if (head.type === "L" || head.type === "x") {
          if (head.size > 1 << 16) throw limits.fail("it is damaged: a name in it is too long");
          meta = { type: head.type, bytes: new Uint8Array(head.size), at: 0 };
        } else if (head.type === "0" || head.type === "\0" || head.type === "7") {
          const name = (longName || head.name).replace(/^(\.\/)+/, "");
          longName = "";
          if (wanted(name) && name.length <= maxName) collector = new Collector(name, limits);
        } else if (head.type !== "g") longName = "";
      }
      if (left > 0) continue;
      if (collector) {
        yield collector.entry();
        collector = undefined;
      }
      if (meta) {
        const name = metaName(meta.type, meta.bytes);
        longName = name || longName;
        meta = undefined;
      }
    }
  }
  if (!seen) throw limits.fail("it is not a tar archive, or an empty one");
  if (left > 0 || filled > 0) throw limits.fail("it is cut");
}

function parseHeader(b: Uint8Array, limits: Limits): { name: string; size: number; type: string } {
  const text = (from: number, to: number) => {
    const field = b.subarray(from, to);
    const end = field.indexOf(0);
    return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
  };
  let sum = 0;
  for (let i = 0; i < block; i++) sum += i >= 148 && i < 156 ? 32 : b[i]!;
  if (parseInt(text(148, 156).trim(), 8) !== sum) throw limits.fail("it is not a tar archive, or damaged");
  let bytes = 0;
  if (b[124]! & 0x80) for (let i = 125; i < 136; i++) bytes = bytes * 256 + b[i]!;
  else bytes = parseInt(text(124, 136).trim() || "0", 8);
  if (!Number.isSafeInteger(bytes)) throw limits.fail("it is damaged: a size in it is not a number");
  const prefix = text(257, 262) === "ustar" && b[262] === 0 ? text(345, 500) : "";
  return { name: (prefix && `${prefix}/`) + text(0, 100), size: bytes, type: String.fromCharCode(b[156]!) };
}

function metaName(type: string, bytes: Uint8Array): string {
  const utf8 = (part: Uint8Array) => new TextDecoder().decode(part);
  if (type === "L") return utf8(bytes).replace(/\0.*$/s, "");
  // Pax records, each: its own length in bytes, a space, key=value, a line feed.
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    if (space < 0) return "";
    const length = parseInt(utf8(bytes.subarray(at, space)), 10);
    if (!(length > 0)) return "";
    const record = utf8(bytes.subarray(space + 1, at + length - 1));
    if (record.startsWith("path=")) return record.slice(5);
    at += length;
  }
  return "";
}
