import { test } from "node:test";
import assert from "node:assert/strict";
import { World } from "../../../sdk/assemblyscript/testing.js";

const program = process.env.PROGRAM ?? new URL("sentinel.wasm", import.meta.url);

// The server. It does nothing twice on its own: who sends a transfer twice has made two.
class Bank {
  balance = 900_00n;
  taken = [];
  status = 0; // of the next POST, if it is not to be taken

  serve = ({ method, url, body }) => {
    const path = new URL(url).pathname;
    if (path === "/balance") return { status: 200, body: `${this.balance}\n` };
    if (method === "GET") return { status: this.taken.includes(path.slice("/transfers/".length)) ? 200 : 404 };
    const status = this.status;
    this.status = 0;
    if (status) return { status };
    const [id, cents] = body.split(" ");
    this.taken.push(id);
    this.balance += BigInt(cents);
    return { status: 200 };
  };
}

function born() {
  const world = new World();
  const bank = new Bank();
  world.web = bank.serve;
  const agent = world.load(program);
  agent.init();
  return { world, bank, agent };
}

// What the sentinel has kept.
function kept(agent) {
  const s = agent.state();
  const state = { name: s.text(), count: s.u64(), effects: s.effects(), moved: s.i64(), void: s.u64() };
  state.open = Object.values(state.effects).filter((stage) => stage === "unresolved" || stage === "in-flight").length;
  return state;
}

test("tops up", () => {
  let { bank, agent } = born();
  for (let i = 0; i < 5; i++) {
    agent.tick();
    agent = agent.restart();
  }
  assert.deepEqual([bank.balance, kept(agent).moved, kept(agent).count], [1400_00n, 500_00n, 1n]);
  bank.balance -= 1000_00n;
  for (let i = 0; i < 5; i++) agent.tick();
  assert.deepEqual([bank.balance, kept(agent).moved, bank.taken.length], [1400_00n, 1500_00n, 3]);
});

// The answer to a transfer that happened is lost: the sentinel asks, and does not act again.
for (const result of [-7, -4, -1]) {
  test(`lost with ${result}`, () => {
    let { world, bank, agent } = born();
    world.fail = (_, url) => (url.endsWith("/balance") ? null : { result, after: true });
    for (let i = 0; i < 3; i++) {
      agent.tick();
      agent = agent.restart();
    }
    assert.deepEqual([kept(agent).open, kept(agent).count], [1, 1n]);
    world.fail = null;
    agent.tick();
    assert.deepEqual([bank.taken.length, bank.balance, kept(agent).moved, kept(agent).open], [1, 1400_00n, 500_00n, 0]);
  });
}

// An operator finds out what the bank does not say: the sentinel counts the transfer, and does not make it again.
for (const [outcome, moved, voided] of [["confirmed", 500_00n, 0n], ["compensated", 0n, 1n]]) {
  test(`told that it is ${outcome}`, () => {
    let { world, bank, agent } = born();
    world.fail = (_, url) => (url.endsWith("/balance") ? null : { result: -7, after: true });
    agent.tick(); // means it
    agent.tick();
    agent = agent.restart();
    agent.tell(outcome, 0);
    const state = kept(agent);
    assert.deepEqual([state.open, state.moved, state.void, bank.taken.length], [0, moved, voided, 1]);
    agent.restart();
  });
}

// The deadline of a transfer that the bank does not know has to pass before another one is made.
test("never", () => {
  const { world, bank, agent } = born();
  const start = world.time;
  bank.status = 500;
  while (world.time < start + 2_000_000_000n) {
    agent.tick();
    world.time += 100_000_000n;
  }
  let state = kept(agent);
  assert.deepEqual([state.count, state.void, state.open], [1n, 0n, 1]);
  world.time += 2_000_000_000n;
  agent.tick();
  agent.tick();
  state = kept(agent);
  assert.deepEqual([state.count, state.void, state.moved, bank.balance], [2n, 1n, 500_00n, 1400_00n]);
});

test("refused", () => {
  const { bank, agent } = born();
  bank.status = 409;
  agent.tick();
  agent.tick();
  let state = kept(agent);
  assert.deepEqual([state.void, state.moved, state.open], [1n, 0n, 0]);
  agent.tick();
  agent.tick();
  state = kept(agent);
  assert.deepEqual([state.moved, state.count], [500_00n, 2n]);
});

// The tick fails that made a transfer: the next one makes the same request, whatever the clock says, and it is not sent.
for (const told of ["ended", "unresolved"]) {
  test(`after a tick that failed, ${told}`, () => {
    let { world, bank, agent } = born();
    agent.tick();
    const before = agent.restart(); // which knows nothing of what comes
    agent.tick();
    assert.equal(bank.taken.length, 1);
    agent = before;
    world.time += 1_000_000_000n;
    agent.tell(told, 0);
    for (let i = 0; i < 4; i++) {
      agent.tick();
      agent = agent.restart();
    }
    assert.deepEqual([bank.taken.length, bank.balance, kept(agent).moved, kept(agent).count], [1, 1400_00n, 500_00n, 1n]);
  });
}
