// Reads a range of a CAR in the worker that examines its blocks, so that their bytes pass no other thread.
//
// Where the first block of a range begins is known only once all before it was read. So the worker looks for what
// a block begins with, which is a guess: a state may hold the same bytes. It cannot change a verdict. The reader of
// the CAR is told of all blocks in their order, and blocks that do not begin where those before them end are not
// taken, but examined again from there (ranges.ts).

import { contents, Spare } from "./blob.ts";
import { largeBlock } from "./core.ts";
import { blobPartSize, blockStartSize, chunkSize, maxPieceSize, maxRangeBlock, type Pieces } from "./pieces.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * So much is examined at a time, or what can be in so many milliseconds: a visitor sees how far it is, and each
 * time costs three threads work.
 */
const minPart = 4 << 20;
const maxPart = 32 << 20;
const partTime = 250;

/** Blocks that follow each other in a CAR, and what was found of them. */
export interface Blocks {
  /** Where the first one begins, with its length. */
  readonly begin: number;
  /** Where the last one ends. */
  readonly end: number;
  /** The first `blockStartSize` bytes of each, with its length. */
  readonly starts: Bytes;
  readonly sizes: Uint32Array<ArrayBuffer>;
  readonly findings: Bytes;
}

/** A block begins with its length as a varint and its CID. */
const cidPrefix = [0x01, 0x55, 0x12, 0x20];
const cidSize = cidPrefix.length + 32;
const maxVarint = 4;

/** The memory of this worker's pieces: of each of two ranges, what is read, and what is not taken yet of the piece before. */
const spare = new Spare(4);

/** Examines the blocks that begin from one place in a blob to another; the first one there, or, if it is not known where that is, one that is found. */
export class RangeReader {
  #examine: (sizes: Uint32Array, parts: Bytes[]) => Promise<Bytes>;
  #reader: Reader;
  #to: number;
  #part: number;
  #known: boolean;

  constructor(examine: (sizes: Uint32Array, parts: Bytes[]) => Promise<Bytes>, blob: Blob, from: number, to: number, known: boolean) {
    this.#examine = examine;
    this.#reader = new Reader(blob, from, to);
    this.#to = to;
    this.#part = Math.min(Math.max((to - from) / 4, minPart), maxPart);
    this.#known = known;
  }

  /** Examines some blocks. There are none at the range's end, and where anything but such a block is. */
  async next(): Promise<Blocks> {
    const starts: Bytes[] = [];
    const sizes: number[] = [];
    const findings: Bytes[] = [];
    const reader = this.#reader;
    this.#known ||= await reader.find(this.#to);
    const begin = reader.at;
    let end = begin;
    const began = performance.now();
    const full = () => end - begin >= this.#part || (end > begin && performance.now() - began > partTime);
    while (this.#known && end < this.#to && !full()) {
      const start = await reader.peek();
      const block = blockAt(start, 0);
      const parts = block && (await reader.take(block.before, block.size));
      if (!parts) {
        this.#to = end;
        break;
      }
      starts.push(start);
      sizes.push(block.size);
      findings.push(await this.#examine(Uint32Array.of(block.size), parts));
      reader.reuse(parts);
      end = reader.at;
    }
    return { begin, end, starts: concatenate(starts), sizes: Uint32Array.from(sizes), findings: concatenate(findings) };
  }

  close(): Promise<void> {
    return this.#reader.close();
  }
}

/** Returns how many bytes stand before the block that begins there, and its size, if one does. */
function blockAt(bytes: Uint8Array, at: number): { before: number; size: number } | undefined {
  let length = 0;
  for (let i = 0; i < maxVarint; i++) {
    const byte = bytes[at + i] ?? 0;
    length |= (byte & 0x7f) << (7 * i);
    if (byte >= 0x80) continue;
    const size = length - cidSize;
    const is = byte > 0 && size > largeBlock && size <= maxRangeBlock && cidPrefix.every((byte, j) => bytes[at + i + 1 + j] === byte);
    return is ? { before: i + 1 + cidSize, size } : undefined;
  }
  return undefined;
}

/** Returns where something begins that looks like a block, or -1. */
function find(bytes: Uint8Array): number {
  const [first, second] = cidPrefix as [number, number];
  for (let at = 0; (at = bytes.indexOf(second, at)) >= 0; at++) {
    if (bytes[at - 1] !== first) continue;
    // The byte before a length may look like a part of it, which would make it longer.
    for (let varint = 1; varint <= maxVarint; varint++) {
      const begin = at - 1 - varint;
      if (begin >= 0 && blockAt(bytes, begin)?.before === varint + cidSize) return begin;
    }
  }
  return -1;
}

/** Reads a blob from some place on. */
class Reader {
  /** Of what is not taken yet. */
  at: number;
  #blob: Blob;
  #pieces: Pieces;
  #rest: Bytes = new Uint8Array(); // read, and not taken yet

  /** Expects to read to some place, and little further. */
  constructor(blob: Blob, from: number, to: number) {
    this.#blob = blob;
    this.at = from;
    this.#pieces = contents(blob.slice(from, to), "", spare);
  }

  /** Reads about so many bytes; none at the end. */
  async #read(want: number): Promise<Bytes> {
    const at = this.at + this.#rest.length;
    let { value } = await this.#pieces.next(want);
    if (!value && at < this.#blob.size) {
      this.#pieces = contents(this.#blob.slice(at, at + want), "", spare);
      ({ value } = await this.#pieces.next(want));
    }
    return value ?? new Uint8Array();
  }

  /** Goes to what looks like the beginning of a block, unless there is none before some place. */
  async find(to: number): Promise<boolean> {
    for (let found: number; (found = find(this.#rest)) < 0; ) {
      this.#skip(Math.max(this.#rest.length - blockStartSize, 0));
      if (this.at + this.#rest.length >= to || !(await this.#append())) return false;
    }
    this.#skip(find(this.#rest));
    return this.at < to;
  }

  #skip(bytes: number): void {
    this.#rest = this.#rest.subarray(bytes);
    this.at += bytes;
  }

  async #append(): Promise<boolean> {
    const piece = await this.#read(chunkSize);
    if (piece.length === 0) return false;
    this.#rest = this.#rest.length > 0 ? concatenate([this.#rest, piece]) : piece;
    return true;
  }

  /** Returns a copy of the next bytes: as many as stand before a block, or all there are. */
  async peek(): Promise<Bytes> {
    while (this.#rest.length < blockStartSize && (await this.#append()));
    return this.#rest.slice(0, blockStartSize);
  }

  /** Takes so many bytes after others; nothing if there are too few. */
  async take(before: number, size: number): Promise<Bytes[] | undefined> {
    const parts: Bytes[] = [];
    let missing = size;
    this.#skip(before);
    for (;;) {
      const part = this.#rest.subarray(0, missing);
      parts.push(part);
      this.#skip(part.length);
      missing -= part.length;
      if (missing === 0) break;
      // With a block of a good size comes the beginning of the next one and little more, since that would wait in the memory of a piece.
      this.#rest = await this.#read(Math.min(missing < chunkSize / 2 ? chunkSize : whole(missing + blockStartSize), maxPieceSize));
      if (this.#rest.length === 0) return undefined;
    }
    if (this.#rest.length <= blockStartSize) this.#rest = this.#rest.slice(); // so that the memory can be used again
    return parts;
  }

  reuse(parts: readonly Bytes[]): void {
    for (const buffer of new Set(parts.map(({ buffer }) => buffer))) {
      if (buffer !== this.#rest.buffer) spare.put(buffer);
    }
  }

  async close(): Promise<void> {
    this.#blob = new Blob(); // what is under way ends
    await this.#pieces.return();
  }
}

/** As many bytes in whole parts: so Chromium hands over a blob, which costs it as much for a part of one. */
const whole = (bytes: number) => Math.ceil(bytes / blobPartSize) * blobPartSize;

function concatenate(parts: readonly Bytes[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
