// A world for an agent's tests, under Node: the same at every run, and observed. It runs the agent as
// asc built it, with the hostcalls' results and limits of docs/spec/abi.md; what a manifest forbids is
// not modelled, but for fail.
//
//   import { test } from "node:test";
//   import assert from "node:assert/strict";
//   import { World } from "@igor-dev/sdk/testing.js";
//
//   test("life", () => {
//     const world = new World();
//     world.web = (request) => ({ status: 200, body: "42" });
//     let agent = world.load("heart.wasm");
//     agent.init();
//     agent.tick();
//     agent = agent.restart();
//     assert.deepEqual(world.lines, ["alive"]);
//     assert.equal(agent.state().u64(), 1n);
//   });

import { readFileSync } from "node:fs";
import assert from "node:assert/strict";

const utf8 = new TextDecoder();
const bytes = (x) => (typeof x === "string" ? new TextEncoder().encode(x) : (x ?? new Uint8Array()));

const part = (b) => Buffer.concat([new Uint8Array(Uint32Array.of(b.length).buffer), b]);

/**
 * @typedef {{ method: string, url: string, headers: string, body: string }} Request
 * @typedef {{ status: number, body?: string | Uint8Array }} Answer
 * @typedef {{ amount: bigint, recipient: string, memo: string }} Payment
 * @typedef {{ kind: number, request: Uint8Array, returned: number, result: Uint8Array }} Effect kind is 8 for a request, 9 for a payment
 * @typedef {{ id: string, offers?: (string | Uint8Array)[], drain?: bigint, wish?: string, migration?: number }} Node
 * @typedef {{ result: number, after?: boolean }} Fault a result of docs/spec/abi.md, before it happens or after
 */

export class World {
  /** What the clock says next, in nanoseconds since 1970. */
  time = BigInt(Date.UTC(2022, 0, 1)) * 1_000_000n;
  /** By how much each look moves it. */
  step = 1_000_000n;
  /** What was logged. @type {string[]} */
  lines = [];
  /** What was written to standard error, as by a failed assertion. */
  stderr = "";
  /** In microcents; payments take from it. */
  budget = 1_000_000n;
  /** Microcents per second. */
  price = 1_000n;
  /** Serves the agent's requests. Without it they fail. @type {((r: Request) => Answer) | null} */
  web = null;
  /** What the web served. @type {Request[]} */
  requests = [];
  /** What was paid. The receipt of a payment is its index in text, "payment 0". @type {Payment[]} */
  payments = [];
  /** The side effects that reached the world, and what came of them. @type {Effect[]} */
  effects = [];
  /**
   * Where the agent lives: its DID, the offers of its peers, when it wants to be empty, the DID of the node that the
   * agent asked to be moved to, and what became of that: 0 none, 1 asked for, 2 moved. @type {Node | null}
   */
  node = null;
  /**
   * Makes calls fail, "http_request", "wallet_pay" or "migrate", by URL, recipient or DID.
   * @type {((call: string, target: string) => Fault | null) | null}
   */
  fail = null;
  /** The agent's store. @type {Map<string, Uint8Array>} */
  kv = new Map();

  #random = 0n;

  /** Loads an agent. @param {string | URL} file */
  load(file) {
    return new Agent(this, new WebAssembly.Module(readFileSync(file)));
  }

  /** The next random byte: splitmix64. */
  random() {
    const cut = (n) => BigInt.asUintN(64, n);
    let z = (this.#random = cut(this.#random + 0x9e3779b97f4a7c15n));
    z = cut((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = cut((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return Number((z ^ (z >> 31n)) & 0xffn);
  }
}

/** One instance of the agent under test. */
class Agent {
  /** @type {World} */ #world;
  /** @type {WebAssembly.Module} */ #module;
  /** @type {Record<string, any>} */ #exports;
  #resuming = false;

  /** @param {World} world @param {WebAssembly.Module} module */
  constructor(world, module) {
    this.#world = world;
    this.#module = module;
    const instance = new WebAssembly.Instance(module, {
      igor: this.#hostcalls(),
      wasi_snapshot_preview1: { fd_write: (_fd, parts, count, written) => this.#write(parts, count, written) },
    });
    this.#exports = /** @type {Record<string, any>} */ (instance.exports);
    this.#exports._initialize?.();
  }

  init() {
    this.call("agent_init");
  }

  /** Whether there is more to do at once. */
  tick() {
    return this.call("agent_tick") === 1;
  }

  /**
   * Does what the host does before a tick when there is something to tell: that the side effect of this index
   * in world.effects was "confirmed" or "compensated", as an operator found out; or that a tick that failed, of
   * which the agent's state knows nothing, left it "unresolved", or that it "ended", with what came of it.
   * @param {"confirmed" | "compensated" | "unresolved" | "ended"} outcome @param {number} index
   */
  tell(outcome, index) {
    const effect = this.#world.effects[index];
    const ended = outcome === "ended";
    const head = new DataView(new ArrayBuffer(54));
    head.setUint8(0, ["confirmed", "compensated", "unresolved", "ended"].indexOf(outcome) + 1);
    head.setUint8(1, effect.kind);
    head.setUint32(2, index + 1, true); // its id
    head.setUint32(34, index + 1, true);
    head.setBigInt64(46, BigInt(ended ? effect.returned : 0), true);
    const rest = [effect.request, ended ? effect.result : new Uint8Array(), bytes("told by the test")].map(part);
    this.observe(Buffer.concat([new Uint8Array(head.buffer), ...rest]));
  }

  /** Hands a finding to the agent, as docs/spec/abi.md has it. @param {Uint8Array} finding */
  observe(finding) {
    this.#hand("agent_observe", finding);
  }

  /** The bytes of the state. */
  save() {
    const size = this.call("agent_checkpoint");
    const ptr = this.call("agent_checkpoint_ptr");
    return new Uint8Array(this.#memory, ptr, size).slice();
  }

  /** Restores a state. @param {Uint8Array} state */
  resume(state) {
    this.#hand("agent_resume", state);
  }

  #hand(name, b) {
    const ptr = this.call("malloc", b.length);
    new Uint8Array(this.#memory, ptr, b.length).set(b);
    this.#resuming = true;
    this.call(name, ptr, b.length);
    this.#resuming = false;
  }

  /** Remembers a side effect that returned with so much in its buffer. */
  #made(kind, request, returned, ptr) {
    const size = returned < 0 ? 0 : 4 + new DataView(this.#memory).getUint32(ptr, true);
    this.#world.effects.push({ kind, request: new Uint8Array(Buffer.concat(request)), returned, result: this.#bytes(ptr, size).slice() });
    return returned;
  }

  /** What a checkpoint makes of an agent: its state, in a fresh instance. */
  restart() {
    const state = this.save();
    assert.deepEqual(this.save(), state, "the same agent has two states");
    const next = new Agent(this.#world, this.#module);
    next.resume(state);
    assert.deepEqual(next.save(), state, "the state does not come back as it was");
    return next;
  }

  /** The state, to read value by value. */
  state() {
    return new State(this.save());
  }

  get #memory() {
    return this.#exports.memory.buffer;
  }

  /** Calls an export. @param {string} name @param {number[]} args */
  call(name, ...args) {
    if (!this.#exports[name]) {
      throw new Error(`the program does not export ${name}: its first lines have export * from "@igor-dev/sdk/exports"`);
    }
    try {
      return this.#exports[name](...args);
    } catch (e) {
      throw new Error(`${name}: ${this.#world.stderr.trim() || e}`, { cause: e });
    }
  }

  #bytes(ptr, len) {
    return new Uint8Array(this.#memory, ptr, len);
  }

  #write(parts, count, written) {
    const view = new DataView(this.#memory);
    let n = 0;
    for (let i = 0; i < count; i++) {
      const b = this.#bytes(view.getUint32(parts + 8 * i, true), view.getUint32(parts + 8 * i + 4, true));
      this.#world.stderr += utf8.decode(b);
      n += b.length;
    }
    view.setUint32(written, n, true);
    return 0;
  }

  #hostcalls() {
    const w = this.#world;
    const text = (ptr, len) => utf8.decode(this.#bytes(ptr, len));
    const need = (ptr, cap, size, result) => {
      if (cap >= 4) new DataView(this.#memory).setUint32(ptr, size, true);
      return result;
    };
    // Writes a payload of wallet_receipt or kv_get.
    const fit = (payload, ptr, cap) => {
      if (payload.length > cap) return need(ptr, cap, payload.length, -4);
      this.#bytes(ptr, payload.length).set(payload);
      return payload.length;
    };
    // Writes a payload of http_request or wallet_pay.
    const sized = (payload, ptr, cap, result) => {
      if (4 + payload.length > cap) return need(ptr, cap, 4 + payload.length, -5);
      this.#bytes(ptr + 4, payload.length).set(payload);
      return need(ptr, cap, payload.length, result);
    };
    return {
      clock_now: () => {
        w.time += w.step;
        return w.time - w.step;
      },
      rand_bytes: (ptr, len) => {
        if (len > 1 << 20) return -2;
        this.#bytes(ptr, len).forEach((_, i, b) => (b[i] = w.random()));
        return 0;
      },
      log_emit: (ptr, len) => void w.lines.push(text(ptr, Math.min(len, 4096))),
      wallet_balance: () => w.budget,
      node_price: () => w.price,
      wallet_receipt_count: () => w.payments.length,
      wallet_receipt: (index, ptr, cap) => (w.payments[index] ? fit(bytes(`payment ${index}`), ptr, cap) : -1),
      http_request: (m, ml, u, ul, h, hl, b, bl, ptr, cap) => {
        if (ml > 32 || ul > 8 << 10 || hl > 32 << 10 || bl > 1 << 20) return -2;
        const request = { method: text(m, ml), url: text(u, ul), headers: text(h, hl), body: text(b, bl) };
        if (!/^https?:\/\/[^/]/.test(request.url)) return -6;
        if (this.#resuming) return -3;
        const fault = w.fail?.("http_request", request.url);
        if (fault && !fault.after) return fault.result;
        if (!w.web) return -1;
        const answer = w.web(request);
        w.requests.push(request);
        const body = bytes(answer.body);
        let result = fault?.result;
        result ??= body.length > 1 << 20 ? need(ptr, cap, 4 + body.length, -5) : sized(body, ptr, cap, answer.status);
        // A GET is a side effect if it was paid, and the agent did not get what it paid for.
        const paid = result <= -7 && result >= -9;
        if (!paid && (request.method === "GET" || request.method === "HEAD")) return result;
        return this.#made(8, [[m, ml], [u, ul], [h, hl], [b, bl]].map(([at, size]) => part(this.#bytes(at, size))), result, ptr);
      },
      wallet_pay: (amount, r, rl, m, ml, ptr, cap) => {
        if (rl > 256 || ml > 1 << 10) return -2;
        if (amount <= 0n) return -6;
        if (rl === 0 || this.#resuming) return -3;
        const payment = { amount, recipient: text(r, rl), memo: text(m, ml) };
        const fault = w.fail?.("wallet_pay", payment.recipient);
        if (fault && !fault.after) return fault.result;
        if (amount > w.budget) return -1;
        w.budget -= amount;
        const receipt = bytes(`payment ${w.payments.push(payment) - 1}`);
        const head = new Uint8Array(BigInt64Array.of(amount).buffer);
        const request = [head, part(this.#bytes(r, rl)), part(this.#bytes(m, ml))];
        return this.#made(9, request, fault ? fault.result : sized(receipt, ptr, cap, 4 + receipt.length), ptr);
      },
      kv_get: (k, kl, ptr, cap) => {
        if (kl > 1 << 10) return -2;
        const value = w.kv.get(text(k, kl));
        return value ? fit(value, ptr, cap) : -5;
      },
      kv_put: (k, kl, v, vl) => {
        if (kl > 1 << 10 || vl > 1 << 20) return -2;
        const key = text(k, kl);
        let size = kl + vl + 8;
        for (const [name, value] of w.kv) size += name === key ? 0 : bytes(name).length + value.length + 8;
        if (size > 16 << 20) return -6;
        w.kv.set(key, this.#bytes(v, vl).slice());
        return 0;
      },
      kv_delete: (k, kl) => (kl > 1 << 10 ? -2 : w.kv.delete(text(k, kl)) ? 0 : -5),
      node_id: (ptr, cap) => (w.node ? fit(bytes(w.node.id), ptr, cap) : -1),
      peer_count: () => (w.node ? (w.node.offers ?? []).length : -1),
      peer_offer: (index, ptr, cap) => {
        const offer = w.node?.offers?.[index];
        return offer === undefined ? -1 : fit(bytes(offer), ptr, cap);
      },
      migrate: (d, dl) => {
        if (dl > 256) return -2;
        if (!w.node) return -1;
        if (this.#resuming) return -3;
        const fault = w.fail?.("migrate", text(d, dl));
        if (fault) return fault.result;
        w.node.wish = text(d, dl);
        w.node.migration = 1;
        return 0;
      },
      migrate_status: () => (w.node ? (w.node.migration ?? 0) : -1),
      drain_deadline: () => (w.node ? (w.node.drain ?? 0n) : -1n),
    };
  }
}

/** Reads a state, value by value, in the order in which the agent saves them. */
class State {
  #b;
  #at = 1;

  /** @param {Uint8Array} b */
  constructor(b) {
    this.#b = b;
  }

  get version() {
    return this.#b[0];
  }

  #take(n) {
    assert.ok(this.#at + n <= this.#b.length, "the state is cut short");
    this.#at += n;
    return new DataView(this.#b.buffer, this.#b.byteOffset + this.#at - n, n);
  }

  u64() {
    return this.#take(8).getBigUint64(0, true);
  }

  i64() {
    return this.#take(8).getBigInt64(0, true);
  }

  /** Nanoseconds since 1970. */
  time() {
    return this.i64();
  }

  bool() {
    return this.#take(1).getUint8(0) === 1;
  }

  /** The number of things that follow. */
  count() {
    return this.#take(4).getUint32(0, true);
  }

  bytes() {
    const v = this.#take(this.count());
    return new Uint8Array(v.buffer, v.byteOffset, v.byteLength).slice();
  }

  text() {
    return utf8.decode(this.bytes());
  }

  /** The stages of an effect log's intents, by their ids. */
  effects() {
    const log = new State(new Uint8Array([0, ...this.bytes()]));
    if (new DataView(log.#b.buffer).getUint32(1, true) === 0xffffffff) {
      log.count(); // what is known of requests stands before the intents
      log.#take(37 * log.count());
      for (let n = log.count(); n > 0; n--) {
        log.#take(73);
        log.bytes();
      }
    }
    const stages = ["", "recorded", "in-flight", "confirmed", "unresolved", "compensated"];
    return Object.fromEntries(
      Array.from({ length: log.count() }, () => {
        const stage = stages[log.#take(1).getUint8(0)];
        const id = log.text();
        log.bytes();
        return [id, stage];
      }),
    );
  }
}
