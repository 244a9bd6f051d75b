// What the host finds out about side effects, and tells the agent: docs/spec/abi.md. What a tick did that
// failed, the effect logs in the state take in by themselves; what an operator found out, Agent.observe
// hears, which ends the intent.

import { digest } from "./digest";
import { EffectLog, Intent, Stage } from "./effects";
import { Agent } from "./index";
import { Encoder } from "./state";

/** What a finding says of a side effect. */
export enum Outcome {
  /** It happened: the operator found out. */
  Confirmed = 1,
  /** It did not happen, or was undone: the operator found out. */
  Compensated = 2,
  /** A tick that failed began it, and it may have happened. */
  Unresolved = 3,
  /** A tick that failed made it, and this is what came of it. */
  Ended = 4,
}

/** What the host tells of a side effect. */
export class Finding {
  outcome: Outcome = Outcome.Confirmed;
  /** 8 a request, 9 a payment. */
  kind: u8 = 0;
  /** The effect's id. */
  effect: Uint8Array = new Uint8Array(32);
  /** The tick that caused it. */
  tick: u64 = 0;
  /** Its number among those of the tick. */
  ordinal: u32 = 0;
  /** What the hostcall returned, of one that ended. */
  returned: i64 = 0;
  /** As the hostcall was asked. */
  request: Uint8Array = new Uint8Array(0);
  /** What the hostcall wrote, of one that ended. */
  result: Uint8Array = new Uint8Array(0);
  /** The operator's. */
  note: string = "";

  /** Reads what agent_observe gets, or returns null if it is none. Outcomes that are not known say nothing. */
  static parse(b: Uint8Array): Finding | null {
    const f = new Finding();
    if (b.length < 54) return null;
    const p = b.dataStart;
    f.outcome = load<u8>(p);
    f.kind = load<u8>(p, 1);
    f.effect = b.slice(2, 34);
    f.tick = load<u64>(p, 34);
    f.ordinal = load<u32>(p, 42);
    f.returned = load<i64>(p, 46);
    const parts: Uint8Array[] = [];
    let at = 54;
    for (let n = 0; n < 3; n++) {
      if (b.length - at < 4) return null;
      const size = load<u32>(p + at);
      at += 4;
      if (size > u32(b.length - at)) return null;
      parts.push(b.slice(at, at + i32(size)));
      at += size;
    }
    if (at < b.length) return null;
    f.request = parts[0];
    f.result = parts[1];
    f.note = String.UTF8.decodeUnsafe(parts[2].dataStart, parts[2].length);
    return f;
  }
}

/** A finding of a request that the log has no intent of: the act that makes it next is answered from it. */
export class Kept {
  constructor(
    /** Confirmed was Unresolved before. */
    public outcome: Outcome,
    readonly effect: Uint8Array,
    readonly digest: Uint8Array,
    readonly returned: i64,
    readonly result: Uint8Array,
  ) {}
}

/** The request that the act of an open intent made, the newest one. */
export class Asked {
  constructor(
    readonly digest: Uint8Array,
    /**
     * It happened, as was found out before it was made again: the agent hears of it at the start of the
     * next tick.
     */
    public confirmed: bool,
  ) {}
}

export function same(a: Uint8Array, b: Uint8Array): bool {
  return a.length == b.length && memory.compare(a.dataStart, b.dataStart, a.length) == 0;
}

/** Names a request. */
export function requestDigest(kind: u8, request: Uint8Array): Uint8Array {
  const b = new Uint8Array(1 + request.length);
  b[0] = kind;
  memory.copy(b.dataStart + 1, request.dataStart, request.length);
  return digest(b);
}

let acting: EffectLog | null = null;
let intent: string = "";

/** Says which intent's act is under way. */
export function startAct(log: EffectLog, id: string): void {
  acting = log;
  intent = id;
}

export function endAct(): void {
  acting = null;
}

/** What a hostcall gives that is not made, for it is known what came of it. */
export class Answer {
  constructor(readonly returned: i32, readonly buffer: ArrayBuffer) {}
}

/**
 * What is known of a request that a side effect is about to make, or null if it is to be made. If an act
 * makes it, its intent has the request from now on. A GET is a side effect only if it was paid, which shows
 * when nobody knows what became of that: sure is false.
 */
export function known(kind: u8, sure: bool, head: Uint8Array, parts: ArrayBuffer[], room: i32): Answer | null {
  const log = acting;
  if (!log || (!sure && !log.keeps)) return null;
  const k = log.take(intent, requestDigest(kind, joined(head, parts)), sure, room);
  if (!k) return null;
  const b = new ArrayBuffer(room);
  if (k.outcome != Outcome.Ended) return new Answer(-7, b);
  if (k.result.length > room) {
    store<u32>(changetype<usize>(b), k.result.length);
    return new Answer(-5, b);
  }
  memory.copy(changetype<usize>(b), k.result.dataStart, k.result.length);
  return new Answer(i32(k.returned), b);
}

/** Notes the request that turned out to be a side effect. */
export function asked(kind: u8, parts: ArrayBuffer[]): void {
  const log = acting;
  if (log) log.ask(intent, requestDigest(kind, joined(new Uint8Array(0), parts)), false);
}

/** A request: its parts have their length before them. */
function joined(head: Uint8Array, parts: ArrayBuffer[]): Uint8Array {
  let size = head.length;
  for (let n = 0; n < parts.length; n++) size += 4 + parts[n].byteLength;
  const request = new Uint8Array(size);
  let p = request.dataStart;
  memory.copy(p, head.dataStart, head.length);
  p += head.length;
  for (let n = 0; n < parts.length; n++) {
    store<u32>(p, parts[n].byteLength);
    memory.copy(p + 4, changetype<usize>(parts[n]), parts[n].byteLength);
    p += 4 + parts[n].byteLength;
  }
  return request;
}

let owing: EffectLog[] = [];

/** Says that a log has intents to be confirmed when a tick begins. */
export function owe(log: EffectLog): void {
  owing.push(log);
}

let collecting: EffectLog[] | null = null;

/** Is called with each effect log of the state that is written. */
export function written(log: EffectLog): void {
  const all = collecting;
  if (all) all.push(log);
}

/**
 * What an agent's effect logs do with findings. Only a program that has such a log has this in it: so the
 * logs say that they are there, and nothing else here names it.
 */
abstract class Hearing {
  abstract tick(agent: Agent): void;
  abstract observe(agent: Agent, f: Finding): void;
}

let hearing: Hearing | null = null;

/** Says that there is an effect log. */
export function hear(): void {
  if (!hearing) hearing = new Logs();
}

class Logs extends Hearing {
  tick(agent: Agent): void {
    endAct();
    if (!owing.length) return;
    const logs = owing;
    owing = [];
    for (let n = 0; n < logs.length; n++) {
      const settled = logs[n].settle();
      for (let i = 0; i < settled.length; i++) {
        if (agent.observe(new Finding(), settled[i]) && settled[i].open) settled[i].stage = Stage.Confirmed;
      }
    }
  }

  observe(agent: Agent, f: Finding): void {
    const logs: EffectLog[] = [];
    collecting = logs;
    agent.save(new Encoder(agent.version));
    collecting = null;
    let intent: Intent | null = null;
    let asking: EffectLog | null = null;
    for (let n = 0; n < logs.length; n++) {
      const i = logs[n].intentOf(f);
      if (!i) {
        logs[n].observe(f);
      } else if (!intent) {
        intent = i;
        asking = logs[n];
      }
    }
    const over = agent.observe(f, intent);
    if (over && asking && asking.intentOf(f) === intent) asking.observe(f);
  }
}

/** Does one tick of an agent. */
export function tick(agent: Agent): bool {
  const h = hearing;
  if (h) h.tick(agent);
  return agent.tick();
}

/** Tells an agent what became of a side effect. */
export function observe(agent: Agent, b: Uint8Array): void {
  const f = Finding.parse(b);
  if (!f) throw new Error("a finding that cannot be read");
  const h = hearing;
  if (h) h.observe(agent, f);
  else agent.observe(f, null);
}
