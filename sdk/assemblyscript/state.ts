// The form of a state, which all SDKs write: a version, then values, one after the other. Integers are
// little-endian; bytes and text have their length (u32) before them.

import { EffectLog } from "./effects";
import { written } from "./findings";

/** Writes a state. */
export class Encoder {
  private b: ArrayBuffer = new ArrayBuffer(64);
  private size: i32 = 0;

  constructor(version: u8) {
    this.u8(version);
  }

  private room(n: i32): usize {
    const size = this.size;
    if (this.b.byteLength - size < n) {
      const b = new ArrayBuffer(2 * this.b.byteLength + n);
      memory.copy(changetype<usize>(b), changetype<usize>(this.b), size);
      this.b = b;
    }
    this.size = size + n;
    return changetype<usize>(this.b) + size;
  }

  private u8(v: u8): void {
    store<u8>(this.room(1), v);
  }

  u64(v: u64): void {
    store<u64>(this.room(8), v);
  }

  i64(v: i64): void {
    this.u64(v);
  }

  bool(v: bool): void {
    this.u8(u8(v));
  }

  /** Nanoseconds since 1970, or clock.NEVER. */
  time(v: i64): void {
    this.u64(v);
  }

  /** The number of things that follow. */
  count(n: i32): void {
    store<u32>(this.room(4), n);
  }

  bytes(v: Uint8Array): void {
    this.count(v.length);
    memory.copy(this.room(v.length), v.dataStart, v.length);
  }

  text(v: string): void {
    this.bytes(Uint8Array.wrap(String.UTF8.encode(v)));
  }

  effects(v: EffectLog): void {
    written(v);
    this.bytes(v.toBytes());
  }

  /** What was written. */
  data(): Uint8Array {
    return Uint8Array.wrap(this.b.slice(0, this.size));
  }
}

/** Reads what an Encoder wrote. After the first problem all values are zero. */
export class Decoder {
  readonly version: u8;
  private at: i32 = 0;
  private problem: string | null = null;

  /** Reads a state of one of the versions from 1 to newest. */
  constructor(private readonly b: Uint8Array, newest: u8) {
    this.version = this.u8();
    if (!this.problem && (this.version == 0 || this.version > newest)) {
      this.fail(`a state of version ${this.version}, and the program knows 1 to ${newest}`);
    }
  }

  private fail(problem: string): void {
    if (!this.problem) this.problem = problem;
  }

  /** Where the next n bytes are, or 0. */
  private take(n: i32): usize {
    if (u32(n) > u32(this.b.length - this.at)) this.fail("a state that is cut short");
    if (this.problem) return 0;
    this.at += n;
    return this.b.dataStart + this.at - n;
  }

  private u8(): u8 {
    const p = this.take(1);
    return p ? load<u8>(p) : 0;
  }

  u64(): u64 {
    const p = this.take(8);
    return p ? load<u64>(p) : 0;
  }

  i64(): i64 {
    return this.u64();
  }

  bool(): bool {
    const b = this.u8();
    if (b > 1) this.fail("a state with a boolean that is neither 0 nor 1");
    return b == 1;
  }

  /** Nanoseconds since 1970, or clock.NEVER. */
  time(): i64 {
    return this.u64();
  }

  /**
   * The number of things that follow, each of at least size bytes. More than there can be in what is
   * left are a problem.
   */
  count(size: i32): i32 {
    const p = this.take(4);
    if (!p) return 0;
    const n = load<u32>(p);
    if (u64(n) * u64(max(1, size)) > u64(this.b.length - this.at)) {
      this.fail("a state that is cut short");
      return 0;
    }
    return n;
  }

  bytes(): Uint8Array {
    const n = this.count(1);
    const p = this.take(n);
    const v = new Uint8Array(p ? n : 0);
    if (p) memory.copy(v.dataStart, p, n);
    return v;
  }

  text(): string {
    const v = this.bytes();
    return String.UTF8.decodeUnsafe(v.dataStart, v.length);
  }

  effects(): EffectLog {
    const v = this.bytes();
    const log = new EffectLog();
    if (!this.problem) {
      const problem = log.read(v);
      if (problem) this.fail(problem);
    }
    return log;
  }

  /** Returns what is wrong with the state, if there is something: also that it goes on. */
  close(): string | null {
    if (!this.problem && this.at < this.b.length) this.fail(`a state with ${this.b.length - this.at} bytes too many`);
    return this.problem;
  }
}
