// What a caller may say besides the input.

import { VerifyError } from "./error.ts";
import type { Fetch } from "./input.ts";

/** Where the verifier's files are, and how many workers it may use. */
export interface Configuration {
  /** igor-verify.wasm; by default it is beside this script. */
  wasm?: URL | string;
  /** The worker's script; by default it is beside this script. Workers have to be of the page's own origin. */
  worker?: URL | string;
  /** At most so many workers; by default as many as there are cores, and at most 8. With 0, all is done on the page's own thread. */
  workers?: number;
}

/** How far a verification is. */
export interface Progress {
  /** Checkpoints examined so far. */
  readonly checkpoints: number;
  /** Bytes of them. */
  readonly bytes: number;
}

/** What lies beside a history about who saw its head, and whom to believe about that (docs/witnessing.md). */
export interface Witness {
  /** A c2sp.org/tlog-policy: the logs that count, and how many of which witnesses have to have cosigned. */
  policy: string;
  /** The file head.tlog-proof beside the history; by default the one that is given with it. */
  proof?: Uint8Array | undefined;
  /** The key of a monitor whose word is taken. */
  monitor?: string | undefined;
  /** The file head.monitor beside the history: what it said; by default the one that is given with it. */
  word?: Uint8Array | undefined;
  /** The history is at best incomplete unless its head is witnessed, and the monitor, if one is named, knows no newer one. */
  require?: boolean | undefined;
}

export interface Options {
  /** The identity that is expected, `did:key:z6Mk…`. Left out, the report says whose history it is; empty or undefined, it is an error. */
  did?: string;
  /** The CID of a checkpoint that has to be there: the newest one known. Left out, a history cut at its end verifies too; empty or undefined, it is an error. */
  head?: string;
  /** Who saw the head, and whom to believe about it. The report has then the member `witnessed`. */
  witness?: Witness | undefined;
  /** Aborts the verification, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Called as checkpoints were examined. */
  onProgress?: ((progress: Progress) => void) | undefined;
  /** Fetches what is given as a `URL`, in the place of the global `fetch`. */
  fetch?: Fetch | undefined;
}

const optionNames: readonly string[] = ["did", "head", "witness", "signal", "onProgress", "fetch"] satisfies (keyof Options)[];

/** Refuses what is no option: a pin that is not understood would pin nothing. */
export function checkNames(options: object, known: readonly string[]): void {
  if (!(Object(options) === options)) throw new TypeError(`the options are ${String(options)}: want an object`);
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new TypeError(`there is no option ${JSON.stringify(name)}: the options are ${known.join(", ")}`);
  }
}

/** Takes what lies beside a history as it is now. What is not understood must not turn a demand off. */
function takeWitness(given: Witness): Witness {
  checkNames(given, ["policy", "proof", "monitor", "word", "require"] satisfies (keyof Witness)[]);
  const { policy, proof, monitor, word, require } = given;
  if (typeof policy !== "string" || policy.trim() === "") throw badPin("the option witness.policy", policy);
  if ("monitor" in given && (typeof monitor !== "string" || monitor.trim() === "")) throw badPin("the option witness.monitor", monitor);
  if ("require" in given && typeof require !== "boolean") throw new TypeError(`the option witness.require is ${String(require)}: want true or false`);
  for (const [name, bytes] of [["proof", proof], ["word", word]] as const) {
    if (bytes !== undefined && !(bytes instanceof Uint8Array)) throw new TypeError(`the option witness.${name}: want a Uint8Array`);
  }
  return { policy, proof, monitor, word, require };
}

/** A pin was asked for that cannot be one. */
function badPin(what: string, value: unknown): VerifyError {
  const is = typeof value === "string" ? "is empty" : `is ${value === null || value === undefined ? value : "no string"}`;
  return new VerifyError("bad-pin", `${what} ${is}`, { hint: "to pin nothing, leave it out" });
}

/**
 * Takes the options as they are now, each read once: what becomes of the caller's object later must not
 * turn a pin off. Refuses options that there are not, and pins without a value.
 */
export function takeOptions(options: Options): Options {
  checkNames(options, optionNames);
  const taken: Record<string, unknown> = {};
  for (const name of optionNames) {
    if (name in options) taken[name] = options[name as keyof Options];
  }
  if (taken["witness"] !== undefined) taken["witness"] = takeWitness(taken["witness"] as Witness);
  else if ("witness" in taken) throw badPin("the option witness", taken["witness"]);
  for (const pin of ["did", "head"]) {
    const value = taken[pin];
    if (pin in taken && (typeof value !== "string" || value.trim() === "")) throw badPin(`the option ${pin}`, value);
  }
  return taken;
}
