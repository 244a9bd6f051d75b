// What the page keeps of a history after its verification, to show it: every
// finding, and where the checkpoint's bytes are.

import type { CARSource, CheckpointSource } from "../verify/input.ts";
import type { Batch } from "../verify/verify.ts";
import { findingSize } from "../verify/core.ts";
import { hex } from "../verify/hex.ts";
import type { Slices } from "./slices.ts";

/** Where the parts of a packed finding are: Finding.AppendBinary in verifier/examine.go. */
const at = { contentHash: 0, prevHash: 32, wasmHash: 96, budget: 128, tick: 144, size: 176, version: 180, problems: 181 };

/** Bits of a packed finding's problems: 1 << the codes of verifier/code.go. */
const unparsable = 0b1110;
const wrongSignature = 0b110_0000;

type Origin = CheckpointSource | CARSource;

/** Where a checkpoint is in a CAR. A slice for every one would cost far more. */
interface Block {
  readonly blob: Blob;
  readonly from: number;
  readonly to: number;
}

/** One history's checkpoints, each by a number: its row, in the order of the report. */
export class Life {
  readonly length: number;
  readonly #findings: Uint8Array;
  readonly #view: DataView;
  readonly #origins: readonly Origin[];
  readonly #rows = new Map<string, number>();
  readonly #names = new Map<string, number>();
  readonly #parents: Int32Array;
  #blocks: Promise<Map<string, Block>> | undefined;

  private constructor(findings: Uint8Array, origins: readonly Origin[]) {
    this.#findings = findings;
    this.#view = new DataView(findings.buffer);
    this.#origins = origins;
    this.length = origins.length;
    this.#parents = new Int32Array(this.length);
  }

  /** Puts the batches of a run in order. */
  static async from(batches: readonly Batch[], slices: Slices): Promise<Life> {
    const origins: Origin[] = [];
    let total = 0;
    for (const { findings } of batches) total += findings.length;
    const all = new Uint8Array(total);
    const view = new DataView(all.buffer);
    let filled = 0;
    await slices.each(batches.length, (i) => {
      const { findings, from } = batches[i]!;
      all.set(findings, filled);
      filled += findings.length;
      for (let i = 0; i < findings.length / findingSize; i++) origins.push("kind" in from ? from : from[i]!);
    });
    // The report's order, which docs/spec/lineage.md calls rule 2; of duplicates the smallest name stays.
    const ticks = new Float64Array(origins.length); // rounded, which keeps their order
    await slices.each(origins.length, (i) => {
      const start = i * findingSize;
      ticks[i] = parsed(view, start) ? Number(view.getBigUint64(start + at.tick, true)) : -1;
    });
    const order = await slices.sorted(origins.length, (i, j) => {
      if (ticks[i] !== ticks[j]) return ticks[i]! - ticks[j]!;
      const [a, b] = [i * findingSize, j * findingSize];
      if (ticks[i]! > Number.MAX_SAFE_INTEGER) {
        const [aTick, bTick] = [view.getBigUint64(a + at.tick, true), view.getBigUint64(b + at.tick, true)];
        if (aTick !== bTick) return aTick < bTick ? -1 : 1;
      }
      for (let k = 0; k < 32; k += 4) {
        const difference = view.getUint32(a + k) - view.getUint32(b + k);
        if (difference !== 0) return difference;
      }
      const [aName, bName] = [nameOf(origins[i]!), nameOf(origins[j]!)];
      return aName < bName ? -1 : aName > bName ? 1 : 0;
    });
    const distinct: number[] = [];
    await slices.each(order.length, (i) => {
      const last = distinct.at(-1);
      if (last === undefined || !sameHash(view, last * findingSize, order[i]! * findingSize)) distinct.push(order[i]!);
    });
    const findings = new Uint8Array(distinct.length * findingSize);
    const life = new Life(findings, distinct.map((i) => origins[i]!));
    await slices.each(distinct.length, (row) => {
      const start = distinct[row]! * findingSize;
      findings.set(all.subarray(start, start + findingSize), row * findingSize);
      life.#rows.set(life.#key(row, at.contentHash), row);
      const origin = life.#origins[row]!;
      if (origin.kind === "checkpoint" && origin.name) life.#names.set(origin.name, row);
    });
    await slices.each(life.length, (row) => {
      life.#parents[row] = (life.isGenesis(row) ? undefined : life.#rows.get(life.#key(row, at.prevHash))) ?? -1;
    });
    return life;
  }

  /** Returns the packed findings of some rows, as a copy. */
  findings(from: number, to: number): Uint8Array<ArrayBuffer> {
    return this.#findings.slice(from * findingSize, to * findingSize) as Uint8Array<ArrayBuffer>;
  }

  /** The content hashes of all rows. */
  hashes(): Uint8Array<ArrayBuffer> {
    const hashes = new Uint8Array(this.length * 32);
    for (let row = 0; row < this.length; row++) {
      const start = row * findingSize + at.contentHash;
      hashes.set(this.#findings.subarray(start, start + 32), row * 32);
    }
    return hashes;
  }

  /** A row's name in a report; "" stands for its CID. */
  name(row: number): string {
    return nameOf(this.#origins[row]!);
  }

  /** The name or, of a block in a CAR, the CID. */
  title(row: number): string {
    return this.name(row) || this.cid(row);
  }

  tick(row: number): bigint {
    return this.#view.getBigUint64(row * findingSize + at.tick, true);
  }

  budget(row: number): bigint {
    return this.#view.getBigInt64(row * findingSize + at.budget, true);
  }

  size(row: number): number {
    return this.#view.getUint32(row * findingSize + at.size, true);
  }

  parsed(row: number): boolean {
    return parsed(this.#view, row * findingSize);
  }

  authentic(row: number): boolean {
    const problems = this.#view.getUint16(row * findingSize + at.problems, true);
    return this.#findings[row * findingSize + at.version] === 4 && (problems & (unparsable | wrongSignature)) === 0;
  }

  isGenesis(row: number): boolean {
    const start = row * findingSize + at.prevHash;
    if (!this.parsed(row)) return false;
    for (let i = 0; i < 32; i += 4) if (this.#view.getUint32(start + i) !== 0) return false;
    return true;
  }

  /** The row of the predecessor, or -1 if it was not supplied. */
  parent(row: number): number {
    return this.#parents[row]!;
  }

  /** The other checkpoints that name the same predecessor, or are a genesis too. */
  siblings(row: number): number[] {
    const found: number[] = [];
    for (let other = 0; other < this.length; other++) {
      if (other === row || !this.authentic(other)) continue;
      // A genesis names no predecessor, as all of them.
      if (sameHash(this.#view, other * findingSize + at.prevHash, row * findingSize + at.prevHash)) found.push(other);
    }
    return found;
  }

  /** The first row with this tick or, if there is none, with the next one. */
  atTick(tick: bigint): number | undefined {
    for (let row = 0; row < this.length; row++) if (this.parsed(row) && this.tick(row) >= tick) return row;
    return undefined;
  }

  cid(row: number): string {
    const start = row * findingSize;
    return cidOf(this.#findings.subarray(start, start + 32));
  }

  wasmHash(row: number): string {
    const start = row * findingSize + at.wasmHash;
    return hex(this.#findings.subarray(start, start + 32));
  }

  /** Finds the row that a problem names. */
  find(name: string): number | undefined {
    const named = this.#names.get(name);
    if (named !== undefined) return named;
    const hash = hashOf(name);
    return hash && this.#rows.get(keyOf(new DataView(hash.buffer), 0));
  }

  /** Reads a row's bytes. */
  async bytes(row: number): Promise<Uint8Array<ArrayBuffer>> {
    const part = await this.#part(row);
    return part instanceof Blob ? new Uint8Array(await part.arrayBuffer()) : part.slice();
  }

  /** The bytes, not yet read, of the checkpoint with a content hash. */
  async part(hash: Uint8Array): Promise<{ part: Blob | Uint8Array<ArrayBuffer>; size: number }> {
    const row = this.#rows.get(keyOf(new DataView(hash.buffer, hash.byteOffset), 0))!;
    return { part: await this.#part(row), size: this.size(row) };
  }

  async #part(row: number): Promise<Blob | Uint8Array<ArrayBuffer>> {
    const origin = this.#origins[row]!;
    if (origin.kind === "checkpoint") return origin.part;
    this.#blocks ??= this.#scan();
    const block = (await this.#blocks).get(this.#key(row, at.contentHash));
    if (!block) throw new Error("this block is not in the file any more");
    return block.blob.slice(block.from, block.to);
  }

  /** Finds the blocks of the CARs, which were verified and so are well-formed. */
  async #scan(): Promise<Map<string, Block>> {
    const blocks = new Map<string, Block>();
    for (const source of new Set(this.#origins)) {
      if (source.kind !== "car") continue;
      const blob = blobs.get(source.path);
      if (!blob) continue;
      const prefix = 36; // of a section: the CID, 4 bytes and the digest
      let start = 0; // of the section
      let window = new Uint8Array();
      let windowAt = 0;
      const need = (n: number) => {
        if (start >= windowAt && start + n <= windowAt + window.length) return undefined;
        windowAt = start;
        const next = blob.slice(start, start + (256 << 10)).arrayBuffer();
        return next.then((bytes) => (window = new Uint8Array(bytes)));
      };
      for (let section = 0; start < blob.size; section++) {
        const reading = need(5 + prefix);
        if (reading) await reading;
        let length = 0;
        let varint = 0;
        for (let more = true; more; varint++) {
          const byte = window[start - windowAt + varint] ?? 0;
          length += (byte & 0x7f) * 2 ** (7 * varint);
          more = byte >= 0x80;
        }
        const payload = start + varint;
        if (section > 0) {
          const digest = new DataView(window.buffer, payload - windowAt + 4, 32);
          blocks.set(keyOf(digest, 0), { blob, from: payload + prefix, to: payload + length });
        }
        start = payload + length;
      }
    }
    return blocks;
  }

  #key(row: number, offset: number): string {
    return keyOf(this.#view, row * findingSize + offset);
  }
}

/** The files of the CARs that are being shown, by the name that they were given under. */
export const blobs = new Map<string, Blob>();

function nameOf(origin: Origin): string {
  return origin.kind === "checkpoint" ? origin.name : "";
}

function parsed(view: DataView, start: number): boolean {
  return (view.getUint16(start + at.problems, true) & unparsable) === 0;
}

function sameHash(view: DataView, a: number, b: number): boolean {
  for (let i = 0; i < 32; i += 4) if (view.getUint32(a + i) !== view.getUint32(b + i)) return false;
  return true;
}

/** A hash as a key for a map. */
function keyOf(view: DataView, offset: number): string {
  const two = (i: number) => view.getUint16(offset + i);
  return String.fromCharCode(
    two(0), two(2), two(4), two(6), two(8), two(10), two(12), two(14),
    two(16), two(18), two(20), two(22), two(24), two(26), two(28), two(30),
  );
}

const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
const cidPrefix = [0x01, 0x55, 0x12, 0x20];

/** The CID of a content hash (docs/spec/checkpoint.md, "CID"). */
function cidOf(hash: Uint8Array): string {
  let text = "b";
  let [bits, held] = [0, 0];
  for (const byte of [...cidPrefix, ...hash]) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(held >> (bits - 5)) & 31];
    held &= 0xff;
  }
  return text + alphabet[(held << (5 - bits)) & 31];
}

function hashOf(cid: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^b[a-z2-7]{58}$/.test(cid)) return undefined;
  const bytes: number[] = [];
  let [bits, held] = [0, 0];
  for (const letter of cid.slice(1)) {
    held = ((held << 5) | alphabet.indexOf(letter)) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes.push((held >> bits) & 0xff);
    }
  }
  return cidPrefix.every((byte, i) => bytes[i] === byte) ? Uint8Array.from(bytes.slice(cidPrefix.length)) : undefined;
}
