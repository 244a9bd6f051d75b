// One namespace a capability, as docs/spec/abi.md has them.

import * as abi from "./abi";
import { Failure, Kind, Result } from "./failure";
import { known } from "./findings";

/** The time of the machine that the agent lives on, in nanoseconds since 1970. */
export namespace clock {
  export const SECOND: i64 = 1_000_000_000;

  /** A time that was not set. */
  export const NEVER: i64 = i64.MIN_VALUE;

  export function now(): i64 {
    return abi.clock_now();
  }
}

/** Randomness of the machine that the agent lives on. */
export namespace rand {
  /** Returns so many random bytes, at most 1 MiB. */
  export function bytes(n: i32): Result<Uint8Array> {
    const b = new Uint8Array(n);
    const code = n == 0 ? 0 : abi.rand_bytes(b.dataStart, n);
    if (code < 0) return Result.failed<Uint8Array>("rand_bytes", code, common(code));
    return Result.of(b);
  }
}

/** Writes a line to the agent's log, of which 4,096 bytes are kept. It needs the capability log. */
export function log(line: string): void {
  if (line.length == 0) return;
  const b = abi.utf8(line);
  abi.log_emit(abi.at(b), b.byteLength);
}

/** A store that is part of the agent's state, beside what it saves. Keys have at most 1 KiB, values 1 MiB. */
export namespace kv {
  const FIRST: i32 = 16 << 10;
  const MAX: u32 = 1 << 20;

  export function get(key: string): Result<Uint8Array> {
    const k = abi.utf8(key);
    let room = FIRST;
    while (true) {
      const b = new ArrayBuffer(room);
      const n = abi.kv_get(abi.at(k), k.byteLength, abi.at(b), room);
      if (n >= 0) return Result.of(Uint8Array.wrap(b.slice(0, n)));
      const needed = n == -4 ? abi.number(b) : 0;
      if (needed <= u32(room) || needed > MAX) return Result.failed<Uint8Array>("kv_get", n, kind(n));
      room = needed;
    }
  }

  export function put(key: string, value: Uint8Array): Failure | null {
    const k = abi.utf8(key);
    return done("kv_put", abi.kv_put(abi.at(k), k.byteLength, value.dataStart, value.length));
  }

  export function remove(key: string): Failure | null {
    const k = abi.utf8(key);
    return done("kv_delete", abi.kv_delete(abi.at(k), k.byteLength));
  }

  function done(call: string, n: i32): Failure | null {
    return n < 0 ? new Failure(call, n, kind(n)) : null;
  }

  function kind(n: i32): Kind {
    if (n == -5) return Kind.NotFound;
    if (n == -6) return Kind.Full;
    return common(n);
  }
}

// @ts-ignore: decorator
@inline const MAX_RECEIPT: i32 = 1452;

/** The budget that is left, and what was paid. Amounts are in microcents. */
export namespace wallet {
  export function balance(): i64 {
    return abi.wallet_balance();
  }

  /** How many receipts there are of the agent's payments. */
  export function receipts(): i32 {
    return abi.wallet_receipt_count();
  }

  /** One of them, from 0 on, as docs/spec/receipts.md has it. */
  export function receipt(index: i32): Result<Uint8Array> {
    const b = new ArrayBuffer(MAX_RECEIPT);
    const n = abi.wallet_receipt(index, abi.at(b), MAX_RECEIPT);
    if (n < 0) return Result.failed<Uint8Array>("wallet_receipt", n, common(n));
    return Result.of(Uint8Array.wrap(b.slice(0, n)));
  }
}

/** What the machine asks for. */
export namespace pricing {
  /** What a second of tick time costs, in microcents. */
  export function price(): i64 {
    return abi.node_price();
  }
}

/** Payments. */
export namespace x402 {
  /**
   * Pays an amount of microcents to a recipient that the manifest allows, and returns the receipt. A
   * payment is a side effect: see EffectLog.
   */
  export function pay(amount: i64, recipient: string, memo: string): Result<Uint8Array> {
    const r = abi.utf8(recipient);
    const m = abi.utf8(memo);
    const head = new Uint8Array(8);
    store<i64>(head.dataStart, amount);
    const answer = known(9, true, head, [r, m], abi.SIZE + MAX_RECEIPT);
    const b = answer ? answer.buffer : new ArrayBuffer(abi.SIZE + MAX_RECEIPT);
    const n = answer
      ? answer.returned
      : abi.wallet_pay(amount, abi.at(r), r.byteLength, abi.at(m), m.byteLength, abi.at(b), b.byteLength);
    if (n < 0) return Result.failed<Uint8Array>("wallet_pay", n, kind(n));
    const receipt = abi.sized(b);
    if (!receipt) return Result.failed<Uint8Array>("wallet_pay", -6, Kind.Processing);
    return Result.of<Uint8Array>(receipt);
  }

  function kind(n: i32): Kind {
    if (n == -4) return Kind.OverCap;
    if (n == -5) return Kind.TooLarge;
    return common(n);
  }
}

/** The node that the agent lives on, and its peers. Elsewhere these fail, with Kind.NotOnNode. */
export namespace node {
  /** The node's DID. */
  export function id(): Result<string> {
    const b = new ArrayBuffer(4096);
    const n = abi.node_id(abi.at(b), b.byteLength);
    if (n < 0) return Result.failed<string>("node_id", n, kind(n));
    return Result.of(String.UTF8.decode(b.slice(0, n)));
  }

  /** How many peers have an offer that the manifest allows. */
  export function peers(): Result<i32> {
    return number("peer_count", abi.peer_count());
  }

  /** The signed offer of one of them, from 0 on. */
  export function offer(index: i32): Result<Uint8Array> {
    const b = new ArrayBuffer(64 << 10);
    const n = abi.peer_offer(index, abi.at(b), b.byteLength);
    if (n < 0) return Result.failed<Uint8Array>("peer_offer", n, kind(n));
    return Result.of(Uint8Array.wrap(b.slice(0, n)));
  }

  /** Asks to be moved to a node, after this tick's checkpoint. */
  export function migrate(did: string): Failure | null {
    const d = abi.utf8(did);
    return number("migrate", abi.migrate(abi.at(d), d.byteLength)).error;
  }

  /** Where the newest wish stands: 0 nothing was asked for, 1 asked for, 2 moved; or why it failed. */
  export function migration(): Result<i32> {
    return number("migrate_status", abi.migrate_status());
  }

  /** When the node wants to be empty: 0, it does not. */
  export function drainDeadline(): Result<i64> {
    const t = abi.drain_deadline();
    if (t < 0) return Result.failed<i64>("drain_deadline", i32(t), kind(i32(t)));
    return Result.of(t);
  }

  function number(call: string, n: i32): Result<i32> {
    if (n < 0) return Result.failed<i32>(call, n, kind(n));
    return Result.of(n);
  }

  function kind(n: i32): Kind {
    return n == -1 ? Kind.NotOnNode : common(n);
  }
}

/** The kind of a result that is the same in every capability. */
export function common(code: i32): Kind {
  switch (code) {
    case -2: return Kind.TooLong;
    case -3: return Kind.NotAllowed;
    case -6: return Kind.Processing;
    case -7: return Kind.Unresolved;
  }
  return Kind.Failed;
}
