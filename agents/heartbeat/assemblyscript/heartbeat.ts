// Heartbeat is an agent that counts its ticks, and says so every tenth time: the smallest life worth
// verifying.

import { Agent, Decoder, Encoder, clock, log, run } from "@igor-dev/sdk";
export * from "@igor-dev/sdk/exports";

/** A heart beats once a tick. */
class Heart extends Agent {
  beats: u64 = 0;
  last: i64 = clock.NEVER;

  init(): void {
    log("alive");
  }

  tick(): bool {
    this.beats++;
    this.last = clock.now();
    if (this.beats % 10 == 0) log(`beat ${this.beats}`);
    return false;
  }

  save(e: Encoder): void {
    e.u64(this.beats);
    e.time(this.last);
  }

  load(d: Decoder): void {
    this.beats = d.u64();
    this.last = d.time();
  }
}

run(new Heart());
