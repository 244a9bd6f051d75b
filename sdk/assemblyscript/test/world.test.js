import { test } from "node:test";
import assert from "node:assert/strict";
import { join } from "node:path";
import { World } from "../testing.js";

const program = join(process.env.PROGRAMS, "world.wasm");

test("capabilities", () => {
  const world = new World();
  world.web = ({ method, url, headers, body }) => {
    if (url.endsWith("/long")) return { status: 200, body: "x".repeat(100_000) };
    const status = Number(/\d+$/.exec(url)?.[0] ?? 200);
    return { status, body: `${method} ${headers.replace("\n", "|")} ${body}` };
  };
  const agent = world.load(program);
  assert.equal(agent.tick(), true);
  assert.deepEqual(world.lines, [
    "1640995200000000000",
    "random 8 rand_bytes: input too long false",
    "money 1000000 1000",
    "pay payment 0 1 payment 0",
    "pay wallet_pay: failed false",
    "receipt wallet_receipt: failed false",
    "get 100000",
    "post POST X-A: b|X-C: d body",
    "404 http_request: status 404: refused or malformed false",
    "500 http_request: status 500: unresolved: it may have happened true",
    "url http_request: refused or malformed false",
    "small http_request: what came back is too large true",
    "kv kv_get: not found false",
    "kv done 100000",
    "kv done kv_delete: not found false",
    "node node_id: not on a node false",
    "node peer_count: not on a node false",
    "node peer_offer: not on a node false",
    "node migrate: not on a node false",
    "node migrate_status: not on a node false",
    "node drain_deadline: not on a node false",
    "64123.45 0.00 -0.05 5 -9223372036854.775808 1.000000",
  ]);
});

test("on a node", () => {
  const world = new World();
  world.node = { id: "did:key:z6MkHere", offers: ["one", "x".repeat(5000)], drain: 7n };
  const agent = world.load(program);
  agent.call("settled");
  assert.deepEqual(world.lines, ["node did:key:z6MkHere 2 5000 0", "then done 1 7"]);
  assert.equal(world.node.wish, "did:key:z6MkThere");
  world.node.migration = 2;
  world.node.drain = 0n;
  world.fail = (call) => (call === "migrate" ? { result: -3 } : null);
  world.lines = [];
  agent.call("settled");
  assert.deepEqual(world.lines, ["node did:key:z6MkHere 2 5000 2", "then migrate: not allowed false 2 0"]);
});

test("results have names", () => {
  const names = {
    "-1": "failed true",
    "-2": "input too long false",
    "-3": "not allowed false",
    "-4": "timeout true",
    "-5": "what came back is too large true",
    "-6": "refused or malformed false",
    "-7": "unresolved: it may have happened true",
    "-8": "paid, not delivered true",
    "-9": "payment not settled false",
  };
  for (const [result, name] of Object.entries(names)) {
    const world = new World();
    world.fail = () => ({ result: Number(result) });
    world.load(program).call("ask");
    assert.deepEqual(world.lines, [`http_request: ${name}`]);
  }
});

test("of what is paid the answer does not come: it happened, or it was never paid", () => {
  for (const [result, stage] of [[-7, 4], [-8, 3], [-9, 5]]) {
    const world = new World();
    world.web = () => ({ status: 404, body: "" });
    world.fail = () => ({ result, after: true });
    const agent = world.load(program);
    agent.call("buy");
    assert.deepEqual(world.lines, [`stage ${stage}`]);
    assert.equal(world.effects.length, 1);
  }
});

test("a GET that a failed tick paid for is known again", () => {
  for (const told of ["unresolved", "ended"]) {
    const world = new World();
    world.web = () => ({ status: 200, body: "data" });
    world.fail = () => ({ result: -7, after: true });
    const agent = world.load(program);
    agent.call("ask"); // in a tick that failed
    world.fail = null;
    world.lines = [];
    agent.tell(told, 0);
    agent.call("buy");
    assert.equal(world.requests.length, 1);
    if (told === "unresolved") agent.tell("confirmed", 0);
    agent.call("buy");
    assert.deepEqual(world.lines, ["stage 4", "stage 3"]);
    assert.equal(world.requests.length, 2);
  }
});

test("what an agent ends with is shown, with its place", () => {
  const world = new World();
  assert.throws(() => world.load(program).restart(), /agent_resume: \S*world\.ts:\d+:\d+: I will not/);
});

test("a program without the exports is told of the line that makes them", () => {
  const world = new World();
  assert.throws(() => world.load(join(process.env.PROGRAMS, "vectors.wasm")).init(), /does not export agent_init: .*@igor-dev\/sdk\/exports/);
});
