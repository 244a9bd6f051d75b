import { pause } from "./platform.ts";

/**
 * The types of a report, format `igor-lineage-report/2`
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

/** The kind of a problem. The last four say that something was not supplied. */
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
  | "head-not-found"
  | "not-witnessed";

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

/** What one of several keys signed; after a hundred of them, how many others there are. */
export type Life =
  | { readonly did: string; readonly checkpoints: number; readonly firstTick: string; readonly lastTick: string; readonly others?: undefined }
  | { readonly others: number; readonly checkpoints: number; readonly did?: undefined };

/** Files of one kind that were not looked at. */
export interface LeftOut {
  /** `receipts`, `key`, …: docs/spec/lineage.md, "Inputs". */
  readonly kind: string;
  readonly files: number;
  /** One of them. */
  readonly name: string;
}

/** What a proof beside the history proves; it never changes the verdict. */
export interface Witnessed {
  /** Why it proves nothing; then only `says` is there too. */
  readonly problem?: string;
  /** CID of the checkpoint that the agent said it is at. */
  readonly head?: string;
  readonly epoch?: string;
  readonly tick?: string;
  /** The name of the log, the statement's index in it, and its size. */
  readonly log?: string;
  readonly index?: string;
  readonly size?: string;
  /** By when as many witnesses as the policy wants had seen it (RFC 3339). */
  readonly before?: string;
  readonly cosigners?: readonly { readonly name: string; readonly key: string; readonly time: string }[];
  /** SHA-256 of the policy, in hex. */
  readonly policy?: string;
  readonly monitor?: {
    readonly name: string;
    readonly size: string;
    readonly time: string;
    readonly heads: string;
    readonly latest: string;
    readonly tick: string;
    readonly forks: string;
  };
  /** One sentence for people. */
  readonly says: string;
}

/** Whom the history's key succeeds. */
export interface Succession {
  /** Why it proves nothing; then only `says` is there too. */
  readonly problem?: string;
  readonly did?: string;
  readonly head?: string;
  readonly tick?: string;
  /** The verdict on the old life. It is not looked at here, so there is none: `igor-verify --predecessor` looks. */
  readonly life?: Verdict;
  readonly committedBefore?: string;
  readonly log?: string;
  readonly says: string;
}

/** A record of an agent's move from one node to another (docs/spec/handover.md). */
export interface HandOver {
  /** Of the hand-over, decimal, from 1. */
  readonly number: string;
  /** DIDs of the nodes. */
  readonly from: string;
  readonly to: string;
  /** CID of the checkpoint at which it was made. */
  readonly head: string;
  /** That checkpoint's tick, decimal, if it was supplied. */
  readonly tick?: string;
  /** Why the record does not count; absent if it does. */
  readonly problem?: "weak-key" | "same-node" | "bad-countersignature" | "bad-signature" | "other-life" | "unknown-head" | "conflict" | "order";
}

/** What verification found: the same, for the same input, as `igor-verify --format json`. */
export interface Report {
  readonly format: "igor-lineage-report/2";
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
  /** The keys that signed something in it, where there are two or more, those with most checkpoints first. None is the agent's by that: only a pin says whose it is. */
  readonly lives?: readonly Life[];
  /** What lay with the history and is no part of it. */
  readonly notLookedAt?: readonly LeftOut[];
  /** Who gave the agent to whom, where records of that lie with the history; by their numbers. They change no verdict. */
  readonly handovers?: readonly HandOver[];
  /** What a proof that a head is in a log proves, where the caller gave a policy. */
  readonly witnessed?: Witnessed;
  /** Whom the key succeeds, where a statement lies with the history. */
  readonly succeeds?: Succession;
  /** Name, version, commit and spec version of the verifier. */
  readonly verifier: string;
}

const texts = new WeakMap<Report, Uint8Array>();

const decoder = new TextDecoder();

/** So many bytes of a long report are parsed at once, which takes about a millisecond. */
const sliceSize = 64 << 10;

/** So long, in milliseconds, the page's thread parses before it handles the page's events. */
const longest = 10;

/** So many different texts are known while a report is parsed. */
const maxCommon = 1000;

/** How a line begins that is an element of a list. */
const element = "    {";

const newline = 0x0a;

/**
 * Reads a report and remembers its text. A long one is read in slices, so that the
 * page stays responsive: every segment and every problem is a line of its own,
 * indented by four spaces, and nothing else is.
 */
export async function parseReport(json: Uint8Array, signal?: AbortSignal): Promise<Report> {
  let frame = ""; // all other lines
  const lists: Record<string, unknown[]> = {};
  let list: unknown[] = [];
  const common = new Map<string, string>();
  let began = performance.now();
  for (let at = 0, end; at < json.length; at = end) {
    if (performance.now() - began > longest) {
      await pause();
      signal?.throwIfAborted();
      began = performance.now();
    }
    end = sliceEnd(json, at);
    let elements = "";
    for (const line of decoder.decode(json.subarray(at, end)).split("\n")) {
      if (line.startsWith(element)) {
        elements += line;
        continue;
      }
      frame += line;
      const name = /^  "(\w+)": \[$/.exec(line)?.[1];
      if (name === undefined) continue;
      append(list, elements, common);
      elements = "";
      list = lists[name] = [];
    }
    append(list, elements, common);
  }
  const report = Object.assign(JSON.parse(frame), lists) as Report;
  texts.set(report, json);
  return report;
}

/** Parses elements, each of which may have a comma after it, and appends them. Texts that many have in common are kept once. */
function append(list: unknown[], elements: string, common: Map<string, string>): void {
  for (const value of JSON.parse(`[${elements.replace(/,$/, "")}]`) as Record<string, unknown>[]) {
    for (const name of ["message", "expected", "found"]) {
      const text = value[name];
      if (typeof text !== "string") continue;
      const known = common.get(text);
      if (known !== undefined) value[name] = known;
      else if (common.size < maxCommon) common.set(text, text);
    }
    list.push(value);
  }
}

/** The end of a slice, which is that of a line. */
function sliceEnd(json: Uint8Array, at: number): number {
  const end = at + sliceSize < json.length ? json.indexOf(newline, at + sliceSize) + 1 : 0;
  return end > 0 ? end : json.length;
}

/**
 * Returns the JSON text of a report that `verifyHistory` gave: the bytes, in
 * UTF-8, that `igor-verify --format json` writes for the same input.
 */
export function reportJSON(report: Report): string {
  const json = texts.get(report);
  if (json === undefined) throw new TypeError("this report is not one that verifyHistory gave");
  return decoder.decode(json);
}
