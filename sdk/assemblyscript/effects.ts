// A log of the agent's side effects: which were meant, which may have happened, which are settled. Its
// rules and its form are those of docs/spec/effects.md.

import { Failure, Kind } from "./failure";
import { Asked, Finding, Kept, Outcome, endAct, hear, owe, requestDigest, same, startAct } from "./findings";

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
// @ts-ignore: decorator
@inline const MAX_FINDINGS: u32 = 1 << 10;
// @ts-ignore: decorator
@inline const MAX_RESULTS: u32 = 2 << 20;
// @ts-ignore: decorator
@inline const EXTENDED: u32 = 0xffffffff; // stands where the count of intents would, if more is known of them
// @ts-ignore: decorator
@inline const ASKED: u32 = 37; // place, state, digest
// @ts-ignore: decorator
@inline const KEPT: u32 = 77; // outcome, effect, digest, returned, length

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
  private size: u32 = 4; // of the wire form of the intents
  private requests: Map<string, Asked> = new Map(); // by the id of the intent; those of open ones count
  private kept: Kept[] = [];

  constructor() {
    hear();
  }

  /**
   * Records the intent of a side effect, which has to follow in the same tick. An id names it for ever.
   * An act makes one request. If it makes several, the newest is the one that findings are about.
   */
  begin(id: string, data: string): void {
    this.record(id, Uint8Array.wrap(String.UTF8.encode(data)));
    this.start(id);
    startAct(this, id);
  }

  /**
   * Notes how it went. If it may have happened it is unresolved at once, as it would be when loaded:
   * the state must not depend on where in the life the agent was restored. What was paid and not
   * delivered happened.
   */
  end(id: string, failure: Failure | null): void {
    endAct();
    if (!failure) return this.confirm(id);
    if (!failure.mayHaveHappened) return this.compensate(id);
    if (failure.kind == Kind.NotDelivered) return this.confirm(id);
    const i = this.find(id);
    if (i.stage != Stage.InFlight) refuse(id, "it is not in flight");
    i.stage = Stage.Unresolved;
  }

  /**
   * Takes in what the host tells of a side effect, and returns the intent that it ended. It is called for
   * each log that is in the state.
   *
   * What the operator found out ends the open intent whose act made that request, the oldest if several
   * did. What a tick did that failed, of which the state knows nothing, is kept: an act that makes the
   * same request gets the answer from it, once, and nothing is sent.
   */
  observe(f: Finding): Intent | null {
    let at = -1;
    for (let n = 0; n < this.kept.length; n++) {
      if (same(this.kept[n].effect, f.effect)) at = n;
    }
    if (f.outcome == Outcome.Unresolved || f.outcome == Outcome.Ended) {
      if (at < 0) this.keep(f);
      return null;
    }
    if (f.outcome != Outcome.Confirmed && f.outcome != Outcome.Compensated) return null;
    if (at >= 0) {
      if (f.outcome == Outcome.Compensated) this.kept.splice(at, 1);
      else if (this.kept[at].outcome == Outcome.Unresolved) this.kept[at].outcome = Outcome.Confirmed;
      return null;
    }
    const i = this.intentOf(f);
    if (i) i.stage = f.outcome == Outcome.Confirmed ? Stage.Confirmed : Stage.Compensated;
    return i;
  }

  /** The intent that a finding ends. */
  intentOf(f: Finding): Intent | null {
    if (f.outcome != Outcome.Confirmed && f.outcome != Outcome.Compensated) return null;
    for (let n = 0; n < this.kept.length; n++) {
      if (same(this.kept[n].effect, f.effect)) return null;
    }
    const name = requestDigest(f.kind, f.request);
    for (let n = 0; n < this.intents.length; n++) {
      const i = this.intents[n];
      const asked = i.open ? this.asked(i) : null;
      if (asked && same(asked.digest, name)) return i;
    }
    return null;
  }

  private keep(f: Finding): void {
    if (u32(this.kept.length) >= MAX_FINDINGS) {
      throw new Error("effects: the log has 1024 findings of ticks that failed, the limit: look at the requests, or forget them");
    }
    let size: u32 = f.result.length;
    for (let n = 0; n < this.kept.length; n++) size += this.kept[n].result.length;
    const name = requestDigest(f.kind, f.request);
    // That it may have happened is what must not be lost.
    if (f.outcome == Outcome.Ended && size <= MAX_RESULTS) {
      this.kept.push(new Kept(f.outcome, f.effect, name, f.returned, f.result));
    } else {
      this.kept.push(new Kept(Outcome.Unresolved, f.effect, name, 0, new Uint8Array(0)));
    }
  }

  /** The ids of the effects of failed ticks whose requests no act has made again yet. */
  keptEffects(): Uint8Array[] {
    const all: Uint8Array[] = [];
    for (let n = 0; n < this.kept.length; n++) all.push(this.kept[n].effect);
    return all;
  }

  /** Drops what was kept of an effect: the same request is sent again. */
  forget(effect: Uint8Array): void {
    for (let n = 0; n < this.kept.length; n++) {
      if (same(this.kept[n].effect, effect)) {
        this.kept.splice(n, 1);
        return;
      }
    }
  }

  /** Whether something is kept of a request. */
  get keeps(): bool {
    return this.kept.length > 0;
  }

  /** Notes the request of an intent. */
  ask(id: string, name: Uint8Array, confirmed: bool): void {
    this.requests.set(key(Uint8Array.wrap(String.UTF8.encode(id))), new Asked(name, confirmed));
    if (confirmed) owe(this);
  }

  /**
   * Returns and drops what is kept of a request, and notes it for its intent. Of one that need not be a side
   * effect it notes it only if that is open, and does not drop an answer that is larger than the room.
   */
  take(id: string, name: Uint8Array, sure: bool, room: i32): Kept | null {
    let taken: Kept | null = null;
    for (let n = 0; n < this.kept.length; n++) {
      if (same(this.kept[n].digest, name)) {
        taken = this.kept[n];
        if (sure || taken.result.length <= room) this.kept.splice(n, 1);
        break;
      }
    }
    if (sure || (taken && taken.outcome != Outcome.Ended)) {
      this.ask(id, name, taken ? taken.outcome == Outcome.Confirmed : false);
    }
    return taken;
  }

  /** The intents that are known to have happened since before their requests were made. They are told of once. */
  settle(): Intent[] {
    const settled: Intent[] = [];
    for (let n = 0; n < this.intents.length; n++) {
      const i = this.intents[n];
      const asked = i.open ? this.asked(i) : null;
      if (asked && asked.confirmed) {
        asked.confirmed = false;
        settled.push(i);
      }
    }
    return settled;
  }

  private asked(i: Intent): Asked | null {
    const k = key(i.idBytes);
    return this.requests.has(k) ? this.requests.get(k) : null;
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
    this.requests.delete(key(i.idBytes)); // of one of this id that was pruned
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
      if (before[n].finished) this.requests.delete(key(before[n].idBytes));
      else this.add(before[n]);
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
    const places: i32[] = [];
    const asked: Asked[] = [];
    if (this.requests.size) {
      for (let n = 0; n < this.intents.length; n++) {
        const one = this.intents[n].open ? this.asked(this.intents[n]) : null;
        if (!one) continue;
        places.push(n);
        asked.push(one);
      }
    }
    let size = this.size;
    const extended = asked.length + this.kept.length > 0;
    if (extended) {
      size += 12 + ASKED * asked.length + KEPT * this.kept.length;
      for (let n = 0; n < this.kept.length; n++) size += this.kept[n].result.length;
    }
    const b = new Uint8Array(size);
    let p = b.dataStart;
    if (extended) {
      store<u32>(p, EXTENDED);
      store<u32>(p, asked.length, 4);
      p += 8;
      for (let n = 0; n < asked.length; n++, p += ASKED) {
        store<u32>(p, places[n]);
        store<u8>(p, u8(asked[n].confirmed), 4);
        memory.copy(p + 5, asked[n].digest.dataStart, 32);
      }
      store<u32>(p, this.kept.length);
      p += 4;
      for (let n = 0; n < this.kept.length; n++) {
        const k = this.kept[n];
        store<u8>(p, u8(k.outcome));
        memory.copy(p + 1, k.effect.dataStart, 32);
        memory.copy(p + 33, k.digest.dataStart, 32);
        store<i64>(p, k.returned, 65);
        p = put(p + 73, k.result);
      }
    }
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
    const log = new EffectLog();
    const places: u32[] = [];
    const asked: Asked[] = [];
    if (b.length >= 4 && load<u32>(b.dataStart) == EXTENDED) {
      r.number();
      const problem = log.readExtension(r, places, asked);
      if (problem) return r.problem(problem);
    }
    if (u32(b.length - r.at) > MAX_SIZE) return r.problem("it is over its limit");
    const count = r.number();
    if (count > MAX_INTENTS) return r.problem("it claims more than 65536 intents");
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
    let owes = false;
    for (let n = 0; n < asked.length; n++) {
      if (places[n] >= u32(log.intents.length) || !log.intents[places[n]].open) {
        return r.problem("a request of an intent that is not open");
      }
      log.requests.set(key(log.intents[places[n]].idBytes), asked[n]);
      if (asked[n].confirmed) owes = true;
    }
    this.intents = log.intents;
    this.index = log.index;
    this.size = log.size;
    this.requests = log.requests;
    this.kept = log.kept;
    if (owes) owe(this);
    return null;
  }

  /** Reads what stands before the intents, or returns what is wrong with it. */
  private readExtension(r: Reader, places: u32[], asked: Asked[]): string | null {
    let count = r.count(ASKED);
    for (let n: u32 = 0; n < count; n++) {
      const place = r.number();
      const state = r.byte();
      if (state > 1 || (n > 0 && place <= places[n - 1])) return "a request that is out of its order, or in no known state";
      places.push(place);
      asked.push(new Asked(r.bytes(32), state == 1));
    }
    count = r.count(KEPT);
    if (count > MAX_FINDINGS) return "more than 1024 findings";
    let size: u32 = 0;
    for (let n: u32 = 0; n < count && !r.cut; n++) {
      const outcome: i32 = r.byte();
      const effect = r.bytes(32);
      const name = r.bytes(32);
      const returned = r.long();
      const result = r.part(MAX_RESULTS - size);
      if (r.cut) break;
      size += result.length;
      if (outcome != Outcome.Ended) {
        if (outcome != Outcome.Confirmed && outcome != Outcome.Unresolved) return "a finding of an outcome that cannot be kept";
        if (returned || result.length) return "an answer to what has none";
      }
      for (let other = 0; other < this.kept.length; other++) {
        if (same(this.kept[other].effect, effect)) return "an effect that stands twice";
      }
      this.kept.push(new Kept(outcome, effect, name, returned, result));
    }
    if (r.cut) return "the bytes end too early, or a length is over its limit";
    return asked.length + this.kept.length == 0 ? "an extension of nothing" : null;
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

  long(): i64 {
    const p = this.take(8);
    return p ? load<i64>(p) : 0;
  }

  /** A count of things that have so many bytes at least. */
  count(size: u32): u32 {
    const n = this.number();
    if (n > u32(this.b.length - this.at) / size) this.cut = true;
    return this.cut ? 0 : n;
  }

  bytes(n: u32): Uint8Array {
    const p = this.take(n);
    const v = new Uint8Array(p ? n : 0);
    if (p) memory.copy(v.dataStart, p, n);
    return v;
  }

  part(limit: u32): Uint8Array {
    const n = this.number();
    if (n > limit) this.cut = true;
    return this.bytes(n);
  }
}
