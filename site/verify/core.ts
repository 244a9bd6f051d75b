import { Go, panicked } from "wasm_exec";
import { VerifyError, type VerifyErrorCode } from "./error.ts";
import type { Kind } from "./input.ts";
import type { Lies } from "./beside.ts";

/** The size of a packed finding: verifier.FindingSize. */
export const findingSize = 184;

/** The size of what a CAR says of a block: its index and the digest of its CID. */
export const blockClaimSize = 36;

/** Blocks over this size are handed over: see `OpenBlock`. */
export const largeBlock = 128 << 10;

/** Above this size an instance is not used again: WASM memory never shrinks. */
const keepMemory = 32 << 20;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

type Bytes = Uint8Array<ArrayBuffer>;

/** The functions of wasm/, which documents them. */
interface Exports {
  readonly mem: WebAssembly.Memory;
  reserve(size: number): number;
  result(): number;
  version(): number;
  reset(): void;
  examine(n: number): number;
  inspect(): number;
  receipts(): number;
  add(n: number): number;
  checkpins(didSize: number): number;
  kind(nameSize: number): number;
  leaveout(n: number): number;
  link(didSize: number, spec: number): number;
  beside(require: number): number;
  handovers(): number;
  forkproof(policySize: number): number;
  distinct(): number;
  path(): number;
  caropen(handOver: number): void;
  carfeed(): number;
  carpass(n: number): void;
  carcheck(n: number): number;
  carclose(): number;
  carstart(): number;
  carblocks(n: number): number;
}

/** Some blocks of a CAR, one after the other. */
export interface CARBlocks {
  /** What the CAR claims of each, for `carCheck`. */
  readonly claims: Bytes;
  readonly sizes: Uint32Array<ArrayBuffer>;
  /** Their bytes, in pieces that need not be a block each. */
  readonly parts: Bytes[];
}

/** What some input completed. */
export interface CARPiece {
  readonly batches: CARBlocks[];
  /** A large block that the input ended inside. */
  readonly open: OpenBlock | undefined;
  /** The CAR is malformed after these. `carClose` says why. */
  readonly malformed: boolean;
}

/** A block whose bytes are the caller's to collect: they are not copied into the instance that reads the CAR. */
export interface OpenBlock {
  readonly claim: Bytes;
  /** How many of its bytes are at the end of the input. */
  readonly came: number;
  /** How many follow the input. `carPass` has to be told of them before the next input. */
  readonly missing: number;
}

/**
 * One instance of the verifier: one history, and one CAR at a time. Not
 * usable any more after an operation failed with `crashed`.
 */
export class Core {
  #exports: Exports;
  #go: Go;
  #exited = false;

  private constructor(go: Go, instance: WebAssembly.Instance) {
    this.#go = go;
    this.#exports = instance.exports as unknown as Exports;
    go.exit = () => (this.#exited = true);
    void go.run(instance); // until main waits, from when on functions can be called
  }

  static async start(module: WebAssembly.Module): Promise<Core> {
    const go = new Go();
    go.env = { GOGC: "40" }; // since WASM memory never shrinks, and what it holds is cheap to look through
    return new Core(go, await WebAssembly.instantiate(module, go.importObject));
  }

  /** Makes it ready for another history, or returns false if it is not to be used again. */
  reset(): boolean {
    if (this.#exited || this.#exports.mem.buffer.byteLength > keepMemory) return false;
    try {
      this.#run(() => (this.#exports.reset(), 0), "crashed");
      return true;
    } catch {
      return false;
    }
  }

  /** Runs a function of the instance that may trap, which ends the instance. */
  #run(f: () => number, code: VerifyErrorCode): number {
    let n: number;
    try {
      if (this.#exited) throw new Error("it has exited");
      n = f();
      if (this.#exited) throw new Error("it exited");
    } catch (cause) {
      this.#exited = true;
      for (const timer of this.#go._scheduledTimeouts.values()) clearTimeout(timer);
      this.#go._scheduledTimeouts.clear();
      throw new VerifyError("crashed", `the verifier crashed: ${panicked().trim() || cause}`);
    }
    if (n < 0) throw new VerifyError(code, decoder.decode(this.#result(-n)));
    return n;
  }

  /** Copies the input in and calls a function. */
  #call(f: () => number, code: VerifyErrorCode, ...parts: Uint8Array[]): number {
    let size = 0;
    for (const part of parts) size += part.length;
    // The address is unsigned, but would come as a negative number from 2 GiB on.
    let at = this.#run(() => this.#exports.reserve(size) >>> 0, "crashed");
    if (at === 0) throw new VerifyError("too-large", `${size} bytes are too many at once`);
    const memory = new Uint8Array(this.#exports.mem.buffer);
    for (const part of parts) {
      memory.set(part, at);
      at += part.length;
    }
    return this.#run(f, code);
  }

  #result(size: number): Bytes {
    const at = this.#exports.result() >>> 0;
    return new Uint8Array(this.#exports.mem.buffer as ArrayBuffer, at, size).slice();
  }

  version(): string {
    return decoder.decode(this.#result(this.#run(() => this.#exports.version(), "crashed")));
  }

  /** Examines checkpoints, which follow each other in `parts`, and returns their packed findings. */
  examine(sizes: Uint32Array, parts: readonly Uint8Array[]): Bytes {
    return this.#result(this.#call(() => this.#exports.examine(sizes.length), "crashed", raw(sizes), ...parts));
  }

  /** Inspects one checkpoint and returns JSON. */
  inspect(bytes: Uint8Array): string {
    return decoder.decode(this.#result(this.#call(() => this.#exports.inspect(), "crashed", bytes)));
  }

  /** Adds packed findings to the history, under their names, which in Node may be no UTF-8. */
  add(findings: Uint8Array, names: readonly (string | Uint8Array)[]): void {
    const utf8 = names.map((name) => (typeof name === "string" ? encoder.encode(name) : name));
    const sizes = Uint32Array.from(utf8, (name) => name.length);
    this.#call(() => this.#exports.add(names.length), "too-many", findings, raw(sizes), ...utf8);
  }

  /** Says what receipts of payments on chains say; see wasm/receipts.go. */
  receipts(bytes: Uint8Array): string {
    return decoder.decode(this.#result(this.#call(() => this.#exports.receipts(), "unreadable", bytes)));
  }

  /** Says what an input is, by its name and how it begins; see wasm/inspect.go. */
  kind(name: string, start: Uint8Array): Kind {
    const utf8 = encoder.encode(name);
    const lines = decoder.decode(this.#result(this.#call(() => this.#exports.kind(utf8.length), "crashed", utf8, start))).split("\n");
    const [kind, use, what, next, role] = lines as [string, Kind["use"], string, string, string];
    return { kind, use, what, next, role };
  }

  /** Notes files that lie with the history and are not looked at, by their names and what is given of their beginnings. */
  leaveOut(names: readonly (string | Uint8Array)[], starts: readonly Uint8Array[]): void {
    const utf8 = names.map((name) => (typeof name === "string" ? encoder.encode(name) : name));
    const sizes = Uint32Array.from(utf8.flatMap((name, i) => [name.length, starts[i]!.length]));
    this.#call(() => this.#exports.leaveout(names.length), "crashed", raw(sizes), ...utf8.flatMap((name, i) => [name, starts[i]!]));
  }

  /** Throws `bad-pin` if the pins cannot be read. An empty one pins nothing. */
  checkPins(did: string, head: string): void {
    const [didBytes, headBytes] = [encoder.encode(did), encoder.encode(head)];
    this.#call(() => this.#exports.checkpins(didBytes.length), "bad-pin", didBytes, headBytes);
  }

  /** Links the history, to which nothing can be added any more, and returns the report's JSON in UTF-8. */
  link(did: string, head: string): Bytes {
    const [didBytes, headBytes] = [encoder.encode(did), encoder.encode(head)];
    return this.#result(this.#call(() => this.#exports.link(didBytes.length, 0), "bad-pin", didBytes, headBytes));
  }

  /** Says what lies beside the history, before it is linked. */
  beside({ policy = "", proof, monitor = "", word, require, succession, commitment }: Lies): void {
    const none = new Uint8Array();
    const parts = [encoder.encode(policy), proof ?? none, encoder.encode(monitor), word ?? none, succession ?? none, commitment ?? none];
    const sizes = Uint32Array.from(parts, (part) => part.length);
    this.#call(() => this.#exports.beside(require ? 1 : 0), "bad-pin", raw(sizes), ...parts);
  }

  /** Adds a file of hand-over records to the history. */
  handOvers(file: Uint8Array): void {
    this.#call(() => this.#exports.handovers(), "unreadable", file);
  }

  /** Says what a fork proof proves, as JSON; see wasm/witness.go. */
  forkProof(file: Uint8Array, policy: string): string {
    const text = encoder.encode(policy);
    return decoder.decode(this.#result(this.#call(() => this.#exports.forkproof(text.length), "unreadable", text, file)));
  }

  /** How many distinct checkpoints the history has. */
  distinct(): number {
    return this.#run(() => this.#exports.distinct(), "crashed");
  }

  /** The content hashes of the linked history, in a CAR's order; none if it is not one path. */
  path(): Bytes {
    return this.#result(this.#run(() => this.#exports.path(), "crashed"));
  }

  carOpen(): void {
    this.#run(() => (this.#exports.caropen(largeBlock), 0), "crashed");
  }

  /** Reads on in the CAR and returns the blocks that are now whole, at most so many in a batch. */
  carFeed(input: Uint8Array, batchLength: number): CARPiece {
    const result = this.#result(this.#call(() => this.#exports.carfeed(), "malformed-car", input));
    const view = new DataView(result.buffer);
    let count = view.getUint32(0, true);
    const sizesAt = 4 + count * blockClaimSize;
    const addressesAt = sizesAt + 4 * count;
    const end = addressesAt + 4 * count;
    const missing = view.getUint32(end, true);
    const claims = (first: number, last: number) => result.slice(4 + first * blockClaimSize, 4 + last * blockClaimSize);
    let open: OpenBlock | undefined;
    if (missing > 0) {
      count--;
      open = { claim: claims(count, count + 1), came: view.getUint32(sizesAt + 4 * count, true), missing };
    }
    const memory = new Uint8Array(this.#exports.mem.buffer);
    const batches: CARBlocks[] = [];
    for (let first = 0; first < count; first += batchLength) {
      const last = Math.min(first + batchLength, count);
      const sizes = new Uint32Array(result.buffer.slice(sizesAt + 4 * first, sizesAt + 4 * last));
      const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
      let at = 0;
      sizes.forEach((size, i) => {
        const address = view.getUint32(addressesAt + 4 * (first + i), true);
        bytes.set(memory.subarray(address, address + size), at);
        at += size;
      });
      batches.push({ claims: claims(first, last), sizes, parts: [bytes] });
    }
    return { batches, open, malformed: end + 4 < result.length };
  }

  /** Says that so many bytes of an open block came. */
  carPass(bytes: number): void {
    this.#run(() => (this.#exports.carpass(bytes), 0), "crashed");
  }

  /** Checks examined blocks against the CAR's claims and adds them to the history. */
  carCheck(claims: Uint8Array, findings: Uint8Array): void {
    this.#call(() => this.#exports.carcheck(claims.length / blockClaimSize), "malformed-car", claims, findings);
  }

  /** Ends the CAR. */
  carClose(): void {
    this.#run(() => this.#exports.carclose(), "malformed-car");
  }

  /** What stands in a CAR before its blocks. */
  carStart(head: Uint8Array): Bytes {
    return this.#result(this.#call(() => this.#exports.carstart(), "crashed", head));
  }

  /** What stands in a CAR before each checkpoint: of each, 32 bytes of hash and the size are given. */
  carBlocks(blocks: Uint8Array): Bytes[] {
    const n = blocks.length / blockClaimSize;
    const result = this.#result(this.#call(() => this.#exports.carblocks(n), "crashed", blocks));
    const view = new DataView(result.buffer);
    const starts: Bytes[] = [];
    for (let at = 0; at < result.length; ) {
      const size = view.getUint32(at, true);
      starts.push(result.slice(at + 4, at + 4 + size));
      at += 4 + size;
    }
    return starts;
  }
}

/** The bytes of numbers. All that runs WASM's like is little-endian in practice, and `carFeed` relies on it too. */
function raw(numbers: Uint32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}
