// Probe is what ../README.md describes, on the SDK for AssemblyScript.

import {
  Agent, Decoder, EffectLog, Encoder, Failure, Request, clock, http, kv, log, node, pricing, rand, run, wallet, x402,
} from "@igor-dev/sdk";
export * from "@igor-dev/sdk/exports";

const WEB = "https://probe.example";

class Probe extends Agent {
  ticks: u64 = 0;
  born: string = "";
  said: string = "";
  effects: EffectLog = new EffectLog();

  private say(what: string, result: string): void {
    this.said += `${what} ${result}\n`;
  }

  private came(what: string, failure: Failure | null, good: string = "ok"): void {
    this.say(what, failure ? failure.reason : good);
  }

  init(): void {
    this.came("init", http.post(WEB + "/done", "").error);
    this.born = this.said;
    this.said = "";
  }

  private get(url: string): void {
    const r = http.get(url);
    this.came("get", r.error, r.ok ? `${r.value.status} ${r.value.body.length}` : "");
  }

  private act(what: string): void {
    const id = `${what}-${this.ticks}`;
    this.effects.begin(id, `data of ${what}`);
    const sent = new Request("POST", `${WEB}/${what}`).header("X-Probe", what).text(id).send();
    const failure = sent.ok ? sent.value.ok().error : sent.error;
    this.effects.end(id, failure);
    this.came("act", failure);
  }

  tick(): bool {
    this.ticks++;
    this.said = "";
    for (let i = 0; i < 16; i++) kept = new Uint8Array(64 << 10);

    this.say("now", (clock.now() / clock.SECOND).toString());
    const random = rand.bytes(8).value;
    this.say("rand", load<u64>(random.dataStart) ? "yes" : "no");
    this.came("rand", rand.bytes((1 << 20) + 1).error);
    log(`probe ${this.ticks}`);

    this.say("balance", wallet.balance() > 0 ? "yes" : "no");
    this.say("price", pricing.price().toString());
    this.say("receipts", wallet.receipts().toString());
    this.came("receipt", wallet.receipt(9).error);
    this.came("pay", x402.pay(5, "mallory", "probe").error);
    this.came("pay", x402.pay(1001, "bob", "probe").error);
    this.came("pay", x402.pay(0, "bob", "probe").error);

    this.get(WEB + "/long");
    this.get(WEB + "/503");
    this.get(WEB + "/late");
    this.get(WEB + "/missing");
    this.get("https://other.example/");
    this.get("probe");

    this.came("load", kv.get("key").error);
    this.came("store", kv.put("key", new Uint8Array(20_000)));
    const value = kv.get("key");
    this.came("load", value.error, value.ok ? value.value.length.toString() : "");
    this.came("store", kv.put("k".repeat(1025), new Uint8Array(0)));
    this.came("delete", kv.remove("key"));
    this.came("delete", kv.remove("key"));

    this.came("node", node.id().error);
    this.came("peers", node.peers().error);
    this.came("offer", node.offer(0).error);
    this.came("migrate", node.migrate("did:key:z6Mk"));
    this.came("migration", node.migration().error);
    this.came("drain", node.drainDeadline().error);

    const open = this.effects.open();
    for (let i = 0; i < open.length; i++) this.effects.confirm(open[i].id);
    this.say("open", open.length.toString());
    this.effects.prune();
    this.act("done");
    this.act("refused");
    this.act("broken");
    this.act("lost");
    return this.ticks % 2 == 0;
  }

  save(e: Encoder): void {
    e.u64(this.ticks);
    e.text(this.born);
    e.text(this.said);
    e.effects(this.effects);
  }

  load(d: Decoder): void {
    this.ticks = d.u64();
    this.born = d.text();
    this.said = d.text();
    this.effects = d.effects();
  }
}

let kept = new Uint8Array(0); // so that the buffers are really made

run(new Probe());
