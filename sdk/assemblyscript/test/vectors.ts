// What vectors.test.js calls.

import { Decoder, EffectLog, Encoder, Finding, x402 } from "@igor-dev/sdk";
export { malloc } from "@igor-dev/sdk/exports";

let out = new ArrayBuffer(0);
let log = new EffectLog();

export function outPtr(): usize {
  return changetype<usize>(out);
}

function say(s: string): i32 {
  out = String.UTF8.encode(s);
  return out.byteLength;
}

function hex(b: Uint8Array): string {
  let s = "";
  for (let i = 0; i < b.length; i++) s += u32(b[i]).toString(16).padStart(2, "0");
  return s.length ? s : "-";
}

function given(ptr: usize, size: i32): Uint8Array {
  return Uint8Array.wrap(changetype<ArrayBuffer>(ptr), 0, size);
}

/** The values of a state and what it is when written again, or -. */
export function state(ptr: usize, size: i32): i32 {
  const d = new Decoder(given(ptr, size), 1);
  const e = new Encoder(1);
  const a = d.u64();
  e.u64(a);
  const b = d.i64();
  e.i64(b);
  const c = d.bool();
  e.bool(c);
  const t = d.time();
  e.time(t);
  const text = d.text();
  e.text(text);
  const data = d.bytes();
  e.bytes(data);
  const n = d.count(8);
  e.count(n);
  const list: string[] = [];
  for (let i = 0; i < n; i++) {
    const v = d.u64();
    e.u64(v);
    list.push(v.toString());
  }
  const effects = d.effects();
  e.effects(effects);
  if (d.close()) return say("-");
  const words = [
    a.toString(), b.toString(), i32(c).toString(), t.toString(), hex(Uint8Array.wrap(String.UTF8.encode(text))), hex(data),
    n ? list.join(",") : "-", hex(effects.toBytes()),
  ];
  return say(words.join(" ") + " = " + hex(e.data()));
}

/** What a log is when saved again, or -. */
export function effects(ptr: usize, size: i32): i32 {
  const log = new EffectLog();
  if (log.read(given(ptr, size))) return say("-");
  return say(hex(log.toBytes()));
}

let got = "";

/** What the newest act or finding came to. */
export function came(ptr: usize, size: i32): i32 {
  return say(got);
}

function unhex(s: string): Uint8Array {
  const b = new Uint8Array(s.length / 2);
  for (let i = 0; i < b.length; i++) b[i] = u8(U32.parseInt(s.substr(2 * i, 2), 16));
  return b;
}

/** Does something with the log of this instance. What it refuses ends the instance. */
export function act(ptr: usize, size: i32): i32 {
  const f = String.UTF8.decodeUnsafe(ptr, size).split("/");
  if (f[0] == "record") log.record(f[1], Uint8Array.wrap(String.UTF8.encode(f[2])));
  else if (f[0] == "begin") log.start(f[1]);
  else if (f[0] == "confirm") log.confirm(f[1]);
  else if (f[0] == "compensate") log.compensate(f[1]);
  else if (f[0] == "prune") log.prune();
  else if (f[0] == "load") assert(!log.read(log.toBytes()));
  else if (f[0] == "act") {
    log.begin(f[1], "");
    const paid = x402.pay(I64.parseInt(f[2]), "bob", "m");
    log.end(f[1], paid.error);
    const e = paid.error;
    got = e ? e.code.toString() : "ok:" + String.UTF8.decodeUnsafe(paid.value.dataStart, paid.value.length);
  } else if (f[0] == "tell") {
    const finding = Finding.parse(unhex(f[1]));
    if (!finding) throw new Error("a finding that cannot be read");
    const ended = log.observe(finding);
    got = ended ? ended.id : "-";
  } else if (f[0] == "tick") {
    const ended = log.settle();
    got = ended.length ? ended[0].id : "-";
    if (ended.length) log.confirm(got);
  }
  else throw new Error("unknown");
  return say(hex(log.toBytes()));
}
