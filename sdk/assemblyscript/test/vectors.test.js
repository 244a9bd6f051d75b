// The vectors that all SDKs share: testdata/sdk.

import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const module = new WebAssembly.Module(readFileSync(join(process.env.PROGRAMS, "vectors.wasm")));

// pay is what wallet_pay does, with where it may write.
function instance(pay = (memory, ptr) => -1) {
  const { exports } = new WebAssembly.Instance(module, {
    wasi_snapshot_preview1: { fd_write: () => 0 },
    igor: { wallet_pay: (...args) => pay(exports.memory.buffer, args[5]) },
  });
  exports._initialize();
  return (name, input) => {
    const ptr = exports.malloc(input.length);
    new Uint8Array(exports.memory.buffer, ptr, input.length).set(input);
    const size = exports[name](ptr, input.length);
    return Buffer.from(exports.memory.buffer, exports.outPtr(), size).toString();
  };
}

// The lines of a file, in words.
function vectors(file) {
  const text = readFileSync(new URL(`../../../testdata/sdk/${file}`, import.meta.url), "utf8");
  const lines = text.split("\n").filter((line) => line && !line.startsWith("#"));
  assert.ok(lines.length >= 10, `${file} has ${lines.length} vectors`);
  return lines.map((line) => line.split(" "));
}

const unhex = (s) => Buffer.from(s === "-" ? "" : s, "hex");

test("states", () => {
  const call = instance();
  for (const [name, bytes, ...values] of vectors("state.txt")) {
    const want = values.join(" ");
    assert.equal(call("state", unhex(bytes)), want === "-" ? "-" : `${want} = ${bytes}`, name);
    // Every byte changed, and every end cut off, gives a state or a refusal.
    const b = unhex(bytes);
    for (let i = 0; i < b.length; i++) {
      call("state", b.subarray(0, i));
      for (let bit = 0; bit < 8; bit++) call("state", Buffer.from(b.map((x, at) => (at === i ? x ^ (1 << bit) : x))));
    }
  }
});

test("effect logs", () => {
  const call = instance();
  for (const [name, bytes, want] of vectors("effects.txt")) {
    assert.equal(call("effects", unhex(bytes)), want, name);
    // Every byte changed, and every end cut off, gives a log or a refusal.
    const b = unhex(bytes);
    for (let i = 0; i < b.length; i++) {
      call("effects", b.subarray(0, i));
      const got = call("effects", Buffer.from(b.map((x, at) => (at === i ? x ^ (1 << i % 8) : x))));
      assert.ok(got === "-" || got.length === bytes.length, name);
    }
  }
});

test("transitions", () => {
  for (const [name, ...words] of vectors("transitions.txt")) {
    const ops = words.slice(0, -2);
    let call = instance();
    let log;
    const done = [];
    for (const op of ops) {
      if (op.endsWith("!")) {
        assert.throws(() => call("act", Buffer.from(op.slice(0, -1))), `${name}: ${op}`);
        call = instance(); // it ended with the refusal: go on in another
        for (const earlier of done) call("act", Buffer.from(earlier));
      } else {
        done.push(op);
        log = call("act", Buffer.from(op));
      }
    }
    assert.equal(log, words.at(-1), name);
  }
});

test("findings", () => {
  for (const [name, ...words] of vectors("findings.txt")) {
    const done = [];
    let paid, live;
    const pay = (memory, ptr) => {
      paid++;
      new DataView(memory).setUint32(ptr, 0, true);
      return live;
    };
    let call = instance(pay);
    const perform = (op) => {
      paid = 0;
      live = op.startsWith("act/") ? Number(op.split("/")[3]) : 0;
      return call("act", Buffer.from(op));
    };
    let log = call("act", Buffer.from("prune"));
    words.slice(0, -2).forEach((op, n) => {
      if (op.endsWith("!")) {
        assert.throws(() => perform(op.slice(0, -1)), `${name}: ${n}`);
        call = instance(pay); // it ended with the refusal: go on in another
        done.forEach(perform);
        return;
      }
      done.push(op);
      log = perform(op);
      const f = op.split("/");
      const came = call("came", Buffer.from(""));
      if (f[0] === "tell") assert.equal(came, f[2], `${name}: ${n}`);
      if (f[0] === "tick") assert.equal(came, f[1], `${name}: ${n}`);
      if (f[0] === "act") {
        assert.equal(String(paid), f[4], `${name}: ${n} paid`);
        assert.equal(came.replaceAll(" ", "_"), f[5] === "ok" ? "ok:" : f[5], `${name}: ${n}`);
      }
    });
    assert.equal(log, words.at(-1), name);
  }
});
