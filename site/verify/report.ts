/**
 * The types of a report, format `igor-lineage-report/1`
 * (docs/spec/lineage.md, "Report"). A field that does not apply is absent.
 *
 * The 64-bit fields of a checkpoint are decimal strings, which `BigInt` reads
 * exactly; counts are numbers.
 */

/**
 * - `verified`: nothing is wrong and nothing is missing.
 * - `incomplete`: nothing supplied is wrong, but it is not a whole life.
 * - `invalid`: something supplied is wrong.
 *
 * Only `verified` is to be shown as good.
 */
export type Verdict = "verified" | "incomplete" | "invalid";

/** The kind of a problem. The last three say that something was not supplied. */
export type ProblemCode =
  | "empty"
  | "truncated"
  | "unsupported-version"
  | "unsigned-version"
  | "weak-key"
  | "bad-signature"
  | "negative-budget"
  | "negative-price"
  | "identity-mismatch"
  | "fork"
  | "tick-order"
  | "missing-genesis"
  | "gap"
  | "head-not-found";

/** Something that keeps a history from being verified. */
export interface Problem {
  readonly code: ProblemCode;
  /** The file's name, or a CAR block's CID; absent where no one checkpoint is meant. */
  readonly name?: string;
  /** The tick number that the checkpoint claims, decimal. */
  readonly tick?: string;
  /** A sentence for people. */
  readonly message: string;
  readonly expected?: string;
  readonly found?: string;
}

/** A run of checkpoints by the same WASM binary. */
export interface Segment {
  /** SHA-256 of the agent's WASM binary, in hex. */
  readonly wasmHash: string;
  /** Tick number, decimal. */
  readonly firstTick: string;
  /** Tick number, decimal. */
  readonly lastTick: string;
  readonly checkpoints: number;
}

/** What verification found: the same, for the same input, as `igor-verify --format json`. */
export interface Report {
  readonly format: "igor-lineage-report/1";
  readonly verdict: Verdict;
  /** The agent's identity; merely claimed unless `signatures.valid` is above 0. */
  readonly did?: string;
  /** Whether the caller pinned the identity. */
  readonly identity: "pinned" | "self-asserted";
  /** Whether the caller pinned the head. */
  readonly completeness: "head-pinned" | "unpinned";
  /** The agent's Ed25519 public key, in hex. */
  readonly publicKey?: string;
  /** Distinct checkpoints supplied. */
  readonly checkpoints: number;
  /** Supplied checkpoints that were ignored, being byte-identical to another one. */
  readonly duplicates: number;
  /** The smallest tick number, decimal. */
  readonly firstTick?: string;
  /** The largest tick number, decimal. */
  readonly lastTick?: string;
  /** CID of the genesis. */
  readonly genesis?: string;
  /** CID of the newest checkpoint. */
  readonly head?: string;
  /** Size of all distinct checkpoints, in bytes. */
  readonly bytes: number;
  readonly signatures: { readonly valid: number; readonly invalid: number };
  readonly segments: readonly Segment[];
  /** Every problem, the first cause first. */
  readonly problems: readonly Problem[];
  /** One sentence: what this report proves. */
  readonly proves: string;
  /** One sentence: what it does not prove. */
  readonly doesNotProve: string;
  /** Name, version, commit and spec version of the verifier. */
  readonly verifier: string;
}

const texts = new WeakMap<Report, string>();

/** Reads a report and remembers its text. */
export function parseReport(json: string): Report {
  const report = JSON.parse(json) as Report;
  texts.set(report, json);
  return report;
}

/**
 * Returns the JSON text of a report that `verifyHistory` gave: the bytes, in
 * UTF-8, that `igor-verify --format json` writes for the same input.
 */
export function reportJSON(report: Report): string {
  const json = texts.get(report);
  if (json === undefined) throw new TypeError("this report is not one that verifyHistory gave");
  return json;
}
