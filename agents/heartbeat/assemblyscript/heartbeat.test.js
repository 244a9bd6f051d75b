import { test } from "node:test";
import assert from "node:assert/strict";
import { World } from "../../../sdk/assemblyscript/testing.js";

const program = process.env.PROGRAM ?? new URL("heartbeat.wasm", import.meta.url);

// Lives for a while, goes on in a fresh heart, and finds the count.
test("life", () => {
  const world = new World();
  let heart = world.load(program);
  heart.init();
  for (let i = 0; i < 25; i++) {
    const now = world.time;
    assert.equal(heart.tick(), false);
    heart = heart.restart();
    const state = heart.state();
    assert.deepEqual([state.u64(), state.time()], [BigInt(i + 1), now]);
  }
  assert.deepEqual(world.lines, ["alive", "beat 10", "beat 20"]);
});
