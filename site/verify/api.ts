// What index.ts exports, but for what the badge loads only where it needs it.

import { asBytes, type Input } from "./input.ts";
import type { ForkReport } from "./fork.ts";
import type { Inspection } from "./inspect.ts";
import { checkNames, type Configuration, type Options } from "./options.ts";
import { Pool } from "./pool.ts";
import type { Report } from "./report.ts";
import { verify } from "./verify.ts";

export { VerifyError, type VerifyErrorCode } from "./error.ts";
export type { Fetch, InFolder, Input, Item, Named } from "./input.ts";
export type { ForkReport, ForkSide } from "./fork.ts";
export type { Field, Inspection } from "./inspect.ts";
export { reportJSON, type HandOver, type Problem, type ProblemCode, type Report, type Segment, type Succession, type Verdict, type Witnessed } from "./report.ts";
export type { Configuration, Options, Progress, Witness } from "./options.ts";

let pool = new Pool();

/**
 * Says where the verifier's files are, and how many workers it may use. Only
 * needed where they are not beside this script. Runs that have begun are not affected.
 */
export function configure(configuration: Configuration): void {
  checkNames(configuration, ["wasm", "worker", "workers"]);
  const { workers = 0 } = configuration;
  if (!Number.isSafeInteger(workers) || workers < 0) throw new TypeError(`workers is ${workers}: want a whole number from 0 on`);
  pool = new Pool(configuration);
}

/**
 * Verifies all that is given as one history and returns the report, the same as that of `igor-verify`.
 *
 * Only `report.verdict === "verified"` is good. A rejection, with a {@link VerifyError} or with the reason of
 * `options.signal`, means that there is no verdict.
 */
export function verifyHistory(input: Input, options: Options = {}): Promise<Report> {
  return verify(pool, input, options);
}

/** Inspects the bytes of one checkpoint, which may be anything. */
export async function inspectCheckpoint(bytes: Uint8Array | ArrayBuffer): Promise<Inspection> {
  const linker = await pool.linker();
  return JSON.parse(await linker.call("inspect", [asBytes(bytes)])) as Inspection;
}

/**
 * Checks a fork proof: a file that shows that one key lived twice. It needs no log; with a policy, the report says
 * which of its statements witnesses saw. A rejection means that the file is no fork proof.
 */
export async function checkForkProof(bytes: Uint8Array | ArrayBuffer, policy = ""): Promise<ForkReport> {
  const linker = await pool.linker();
  return JSON.parse(await linker.call("forkProof", [asBytes(bytes), policy])) as ForkReport;
}

/** Returns name, version, commit and spec version of the verifier. */
export async function verifierVersion(): Promise<string> {
  const linker = await pool.linker();
  return linker.call("version", []);
}

/** The SHA-256, in hex, of the only WASM that this script loads. */
export const wasmSHA256: string = IGOR_WASM_SHA256;
