// Primes is what ../main.go describes, on the SDK for AssemblyScript.

import { Agent, Decoder, Encoder, run } from "@igor-dev/sdk";
export * from "@igor-dev/sdk/exports";

const LIMIT: i32 = 100_000;

class Primes extends Agent {
  found: u64 = 0;

  tick(): bool {
    const composite = new StaticArray<bool>(LIMIT);
    for (let n = 2; n < LIMIT; n++) {
      if (composite[n]) continue;
      this.found++;
      for (let m = 2 * n; m < LIMIT; m += n) composite[m] = true;
    }
    return false;
  }

  save(e: Encoder): void {
    e.u64(this.found);
  }

  load(d: Decoder): void {
    this.found = d.u64();
  }
}

run(new Primes());
