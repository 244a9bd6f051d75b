// Makes an AssemblyScript program an Igor agent. `igor new --lang assemblyscript NAME` makes one to
// begin with.
//
//   import { Agent, Decoder, Encoder, clock, log, run } from "@igor-dev/sdk";
//   export * from "@igor-dev/sdk/exports";
//
//   class Heart extends Agent {
//     beats: u64 = 0;
//     last: i64 = clock.NEVER;
//
//     tick(): bool {
//       this.beats++;
//       this.last = clock.now();
//       log(`beat ${this.beats}`);
//       return false;
//     }
//
//     save(e: Encoder): void {
//       e.u64(this.beats);
//       e.time(this.last);
//     }
//
//     load(d: Decoder): void {
//       this.beats = d.u64();
//       this.last = d.time();
//     }
//   }
//
//   run(new Heart());
//
// asc gets its options from an asconfig.json that extends the one beside this file.

export { clock, kv, log, node, pricing, rand, wallet, x402 } from "./capabilities";
export { decimal } from "./decimal";
export { EffectLog, Intent, Stage } from "./effects";
export { Finding, Outcome } from "./findings";
export { Failure, Kind, Result } from "./failure";
export { Request, Response, http } from "./http";
export { Decoder, Encoder } from "./state";
export { onAbort } from "./abort";

import { Intent } from "./effects";
import { Finding } from "./findings";
import { Decoder, Encoder } from "./state";

/**
 * An agent. What save writes is all that lives on: after every checkpoint it goes on as a fresh
 * instance of the program, and load reads it. Globals are as they were at the start by then. Whether
 * something was forgotten, `igor simulate --verify` finds out.
 *
 * Hostcalls work in init and tick, and those that stay in the machine (all but http and x402) in load
 * too. Side effects (x402.pay, and http with anything but GET and HEAD) work in tick alone.
 */
export abstract class Agent {
  /** The newest version of the state, from 1 on. load gets the older ones too: see Decoder.version. */
  get version(): u8 {
    return 1;
  }

  /** Is called once in the agent's life, before its first tick. */
  init(): void {}

  /**
   * Does one step, and returns whether there is more to do at once. It has 15 seconds; what takes
   * longer has to be spread over several ticks.
   */
  abstract tick(): bool;

  /**
   * Hears what the host found out about a side effect, with the open intent that it is about, or null. It
   * counts what happened, as after an act, and returns true: the intent is over then. With false, as by
   * default, it stays open, for the agent to ask: what it has to count, nobody else knows.
   *
   * Of what was found out before its request was made, it gets the outcome alone, at the start of the tick
   * after that request. Side effects do not work in it.
   */
  observe(finding: Finding, intent: Intent | null): bool {
    return false;
  }

  /** Writes the state. The same state has to give the same bytes. */
  abstract save(e: Encoder): void;

  /** Reads what save wrote. */
  abstract load(d: Decoder): void;
}

let running: Agent | null = null;

/** Makes an object the program's agent. */
export function run(agent: Agent): void {
  if (running) throw new Error("run was called twice");
  running = agent;
}

// @ts-ignore: decorator
@lazy const NOBODY = "no agent: the program ends with run(new MyAgent())";

/** The agent that runs, for exports.ts. */
export function agent(): Agent {
  const a = running;
  if (!a) throw new Error(NOBODY);
  return a;
}
