// Payer is what ../main.go describes, on the SDK for AssemblyScript.

import { Agent, Decoder, EffectLog, Encoder, Finding, Intent, Outcome, run, x402 } from "@igor-dev/sdk";
export * from "@igor-dev/sdk/exports";

class Payer extends Agent {
  paid: u64 = 0;
  tries: u64 = 0;
  log: EffectLog = new EffectLog();

  private settle(): void {
    this.paid++;
    this.tries = 0;
  }

  tick(): bool {
    if (this.log.open().length) return false; // the operator finds out
    this.log.prune();
    const order = this.paid + 1;
    this.tries++;
    const id = `order ${order}.${this.tries};`;
    const told = this.log.keptEffects().length > 0;
    this.log.begin(id, "");
    const failure = x402.pay(5, "bob", id).error;
    this.log.end(id, failure);
    assert(!((order % 2 == 0 || order % 5 == 3) && this.tries == 1 && !told), "this tick fails");
    if (!failure) this.settle();
    return false;
  }

  /** Counts what the operator found out. What did not happen is tried again. */
  observe(finding: Finding, intent: Intent | null): bool {
    if (intent && finding.outcome == Outcome.Confirmed) this.settle();
    return true;
  }

  save(e: Encoder): void {
    e.u64(this.paid);
    e.u64(this.tries);
    e.effects(this.log);
  }

  load(d: Decoder): void {
    this.paid = d.u64();
    this.tries = d.u64();
    this.log = d.effects();
  }
}

run(new Payer());
