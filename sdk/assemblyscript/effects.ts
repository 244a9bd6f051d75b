// A log of the agent's side effects: which were meant, which may have happened, which are settled. Its
// rules and its form are those of docs/spec/effects.md.

import { Failure } from "./failure";

// @ts-ignore: decorator
@inline const MAX_INTENTS: u32 = 1 << 16;
// @ts-ignore: decorator
@inline const MAX_ID: u32 = 256;
// @ts-ignore: decorator
@inline const MAX_DATA: u32 = 2 << 20;
// @ts-ignore: decorator
@inline const MAX_SIZE: u32 = 16 << 20;
// @ts-ignore: decorator
@inline const OVERHEAD: u32 = 9; // state, id length, data length

/** Where an intent stands. */
export enum Stage {
  /** Meant; the act has not begun. */
  Recorded = 1,
  /** The act may be under way, or done. */
  InFlight = 2,
  /** The act happened. Final. */
  Confirmed = 3,
  /** Was in flight when it was saved: the outcome is not known. */
  Unresolved = 4,
  /** The act did not happen, or was undone. Final. */
  Compensated = 5,
}

/** One act, and where it stands. */
export class Intent {
  constructor(readonly idBytes: Uint8Array, readonly data: Uint8Array, public stage: Stage) {}

  get id(): string {
    return text(this.idBytes);
  }

  /** The data as text. */
  text(): string {
    return text(this.data);
  }

  get open(): bool {
    return this.stage == Stage.InFlight || this.stage == Stage.Unresolved;
  }

  get finished(): bool {
    return this.stage == Stage.Confirmed || this.stage == Stage.Compensated;
  }

  get size(): u32 {
    return OVERHEAD + this.idBytes.length + this.data.length;
  }
}

/**
 * It belongs into the agent's state: Encoder.effects writes it, Decoder.effects reads it. Loaded, what
 * was in flight is unresolved.
 *
 *   this.effects.begin("order-7", "2 apples");
 *   const sent = http.post("https://orders.example.com/", "2 apples");
 *   const failure = sent.ok ? sent.value.ok().error : sent.error;
 *   this.effects.end("order-7", failure);
 *   if (failure && failure.mayHaveHappened) {
 *     // Nobody knows. It stays in this.effects.open() until the agent has asked, in a later tick, and
 *     // calls confirm or compensate.
 *   }
 *
 * What the log refuses ends the agent, with the reason: it is the author's error.
 */
export class EffectLog {
  private intents: Intent[] = [];
  private index: Map<string, Intent> = new Map();
  private size: u32 = 4;

  /** Records the intent of a side effect, which has to follow in the same tick. An id names it for ever. */
  begin(id: string, data: string): void {
    this.record(id, Uint8Array.wrap(String.UTF8.encode(data)));
    this.start(id);
  }

  /**
   * Notes how it went. If it may have happened it is unresolved at once, as it would be when loaded:
   * the state must not depend on where in the life the agent was restored.
   */
  end(id: string, failure: Failure | null): void {
    if (!failure) return this.confirm(id);
    if (!failure.mayHaveHappened) return this.compensate(id);
    const i = this.find(id);
    if (i.stage != Stage.InFlight) refuse(id, "it is not in flight");
    i.stage = Stage.Unresolved;
  }

  /**
   * The intents whose acts may have happened. Ask the outside world about each at the start of a tick,
   * then confirm or compensate it.
   */
  open(): Intent[] {
    const open: Intent[] = [];
    for (let n = 0; n < this.intents.length; n++) {
      if (this.intents[n].open) open.push(this.intents[n]);
    }
    return open;
  }

  /** Adds an intent under a new id. */
  record(id: string, data: Uint8Array): void {
    const i = new Intent(Uint8Array.wrap(String.UTF8.encode(id)), data.slice(), Stage.Recorded);
    if (this.has(id)) refuse(id, "the log holds it already; a new act needs a new id");
    const length = u32(i.idBytes.length);
    if (length == 0 || length > MAX_ID) refuse(id, `an id has 1 to ${MAX_ID} bytes`);
    if (u32(data.length) > MAX_DATA) refuse(id, `data has at most ${MAX_DATA} bytes`);
    if (u32(this.intents.length) >= MAX_INTENTS || this.size + i.size > MAX_SIZE) refuse(id, "the log is full; prune it");
    this.add(i);
  }

  /** Says that the act is about to start. */
  start(id: string): void {
    const i = this.find(id);
    if (i.stage != Stage.Recorded) refuse(id, "it has begun before");
    i.stage = Stage.InFlight;
  }

  /** Says that the act happened. */
  confirm(id: string): void {
    const i = this.find(id);
    if (!i.open) refuse(id, "it is not open");
    i.stage = Stage.Confirmed;
  }

  /** Says that the act did not happen, or was undone. */
  compensate(id: string): void {
    const i = this.find(id);
    if (!i.open) refuse(id, "it is not open");
    i.stage = Stage.Compensated;
  }

  /**
   * Drops the finished intents. The log then no longer knows their ids: prune an intent only when
   * nothing can ask for its act a second time.
   */
  prune(): void {
    const before = this.intents;
    this.clear();
    for (let n = 0; n < before.length; n++) {
      if (!before[n].finished) this.add(before[n]);
    }
  }

  /** Whether the log has an intent of this id. */
  has(id: string): bool {
    return this.index.has(key(Uint8Array.wrap(String.UTF8.encode(id))));
  }

  /** All intents, in the order of their recording. */
  all(): Intent[] {
    return this.intents.slice();
  }

  private find(id: string): Intent {
    const k = key(Uint8Array.wrap(String.UTF8.encode(id)));
    if (!this.index.has(k)) refuse(id, "the log does not hold it; record it first");
    return this.index.get(k);
  }

  private clear(): void {
    this.intents = [];
    this.index = new Map();
    this.size = 4;
  }

  private add(i: Intent): void {
    this.intents.push(i);
    this.index.set(key(i.idBytes), i);
    this.size += i.size;
  }

  /** Returns the wire form. */
  toBytes(): Uint8Array {
    const b = new Uint8Array(this.size);
    let p = b.dataStart;
    store<u32>(p, this.intents.length);
    p += 4;
    for (let n = 0; n < this.intents.length; n++) {
      const i = this.intents[n];
      store<u8>(p++, u8(i.stage));
      p = put(p, i.idBytes);
      p = put(p, i.data);
    }
    return b;
  }

  /** Becomes the log whose wire form is b, or returns what is wrong with it. What was in flight is unresolved. */
  read(b: Uint8Array): string | null {
    const r = new Reader(b);
    if (u32(b.length) > MAX_SIZE) return r.problem("it is over its limit");
    const count = r.number();
    if (count > MAX_INTENTS) return r.problem("it claims more than 65536 intents");
    const log = new EffectLog();
    for (let n: u32 = 0; n < count && !r.cut; n++) {
      let stage: i32 = r.byte();
      const id = r.part(MAX_ID);
      const data = r.part(MAX_DATA);
      if (r.cut) break;
      if (stage < Stage.Recorded || stage > Stage.Compensated) return r.problem("unknown state, want 1 to 5");
      if (id.length == 0) return r.problem("an empty id");
      if (log.index.has(key(id))) return r.problem("an id that stands twice");
      if (stage == Stage.InFlight) stage = Stage.Unresolved; // the one rule
      log.add(new Intent(id, data, stage));
    }
    if (r.cut) return r.problem("the bytes end too early, or a length is over its limit");
    if (r.at < b.length) return r.problem("bytes follow the last intent");
    this.intents = log.intents;
    this.index = log.index;
    this.size = log.size;
    return null;
  }
}

function refuse(id: string, why: string): void {
  throw new Error(`effects: "${id}": ${why}`);
}

function text(b: Uint8Array): string {
  return String.UTF8.decodeUnsafe(b.dataStart, b.length);
}

/** A key of a map for bytes that need not be UTF-8: a code unit a byte. */
function key(b: Uint8Array): string {
  const k = changetype<string>(__new(2 * b.length, idof<string>()));
  for (let n = 0; n < b.length; n++) store<u16>(changetype<usize>(k) + 2 * n, b[n]);
  return k;
}

function put(p: usize, b: Uint8Array): usize {
  store<u32>(p, b.length);
  memory.copy(p + 4, b.dataStart, b.length);
  return p + 4 + b.length;
}

class Reader {
  at: i32 = 0;
  cut: bool = false;

  constructor(private readonly b: Uint8Array) {}

  problem(what: string): string {
    return `effects: malformed effect log: at byte ${this.at}: ${what}`;
  }

  private take(n: u32): usize {
    if (n > u32(this.b.length - this.at)) this.cut = true;
    if (this.cut) return 0;
    this.at += n;
    return this.b.dataStart + this.at - n;
  }

  byte(): u8 {
    const p = this.take(1);
    return p ? load<u8>(p) : 0;
  }

  number(): u32 {
    const p = this.take(4);
    return p ? load<u32>(p) : 0;
  }

  part(limit: u32): Uint8Array {
    const n = this.number();
    if (n > limit) this.cut = true;
    const p = this.take(n);
    const v = new Uint8Array(p ? n : 0);
    if (p) memory.copy(v.dataStart, p, n);
    return v;
  }
}
