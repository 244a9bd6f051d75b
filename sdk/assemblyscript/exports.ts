// What makes a program an agent: its exports, as docs/spec/abi.md has them.

import { observe, tick } from "./findings";
import { agent } from "./index";
import { Decoder, Encoder } from "./state";

let saved = new Uint8Array(0);

export function agent_init(): void {
  agent().init();
}

export function agent_tick(): i32 {
  return i32(tick(agent()));
}

export function agent_checkpoint(): i32 {
  const a = agent();
  const e = new Encoder(a.version);
  a.save(e);
  saved = e.data();
  return saved.length;
}

export function agent_checkpoint_ptr(): usize {
  return saved.dataStart;
}

export function agent_resume(ptr: usize, size: i32): void {
  const a = agent();
  const d = new Decoder(Uint8Array.wrap(changetype<ArrayBuffer>(ptr), 0, size), a.version);
  a.load(d);
  const problem = d.close();
  if (problem) throw new Error("the state cannot be restored: " + problem);
  __unpin(ptr);
}

export function agent_observe(ptr: usize, size: i32): void {
  const finding = Uint8Array.wrap(changetype<ArrayBuffer>(ptr), 0, size);
  observe(agent(), finding);
  __unpin(ptr);
}

/** Makes room for the bytes of a state, which the collector leaves until they are read. */
export function malloc(size: i32): usize {
  return __pin(__new(size, idof<ArrayBuffer>()));
}
