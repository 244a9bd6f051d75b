// An agent that calls all that the SDK has. world.test.js reads what came of it in its log.

import {
  Agent, Decoder, EffectLog, Encoder, Failure, Finding, Intent, Request, clock, decimal, http, kv, log, node, pricing, rand, run, wallet,
  x402,
} from "@igor-dev/sdk";
export * from "@igor-dev/sdk/exports";

const URL = "https://a.example";

function why(f: Failure | null): string {
  return f ? `${f.toString()} ${f.mayHaveHappened}` : "done";
}

class Caller extends Agent {
  effects: EffectLog = new EffectLog();

  observe(finding: Finding, intent: Intent | null): bool {
    return true;
  }

  tick(): bool {
    log(clock.now().toString());
    log(`random ${rand.bytes(8).value.length} ${why(rand.bytes((1 << 20) + 1).error)}`);
    log(`money ${wallet.balance()} ${pricing.price()}`);
    log(`pay ${text(x402.pay(400_000, "bob", "tea").value)} ${wallet.receipts()} ${text(wallet.receipt(0).value)}`);
    log(`pay ${why(x402.pay(600_001, "bob", "").error)}`);
    log(`receipt ${why(wallet.receipt(9).error)}`);
    log(`get ${http.get(URL + "/long").value.body.length}`);
    log(`post ${new Request("POST", URL).header("X-A", "b").header("X-C", "d").text("body").send().value.text()}`);
    log(`404 ${why(http.get(URL + "/404").value.ok().error)}`);
    log(`500 ${why(http.post(URL + "/500", "").value.ok().error)}`);
    log(`url ${why(http.get("a.example").error)}`);
    const small = new Request("GET", URL + "/long");
    small.room = 10;
    log(`small ${why(small.send().error)}`);
    log(`kv ${why(kv.get("a").error)}`);
    log(`kv ${why(kv.put("a", new Uint8Array(100_000)))} ${kv.get("a").value.length}`);
    log(`kv ${why(kv.remove("a"))} ${why(kv.remove("a"))}`);
    log(`node ${why(node.id().error)}`);
    log(`node ${why(node.peers().error)}`);
    log(`node ${why(node.offer(0).error)}`);
    log(`node ${why(node.migrate("did:key:z6Mk"))}`);
    log(`node ${why(node.migration().error)}`);
    log(`node ${why(node.drainDeadline().error)}`);
    log([
      decimal(6412345, 2), decimal(0, 2), decimal(-5, 2), decimal(5, 0), decimal(i64.MIN_VALUE, 6), decimal(1_000_000, 6),
    ].join(" "));
    return true;
  }

  save(e: Encoder): void {
    e.effects(this.effects);
  }

  load(d: Decoder): void {
    throw new Error("I will not");
  }
}

function text(b: Uint8Array): string {
  return String.UTF8.decodeUnsafe(b.dataStart, b.length);
}

// Asks once, for the test of what each result is called.
export function ask(): void {
  log(why(http.get(URL).error));
}

// Lives on a node.
export function settled(): void {
  log(`node ${node.id().value} ${node.peers().value} ${node.offer(1).value.length} ${node.migration().value}`);
  log(`then ${why(node.migrate("did:key:z6MkThere"))} ${node.migration().value} ${node.drainDeadline().value}`);
}

let acts = 0;

// Gets something in an act.
export function buy(): void {
  const id = `act ${++acts}`;
  caller.effects.begin(id, "");
  caller.effects.end(id, http.get(URL).error);
  const all = caller.effects.all();
  log(`stage ${<i32>all[all.length - 1].stage}`);
}

const caller = new Caller();
run(caller);
