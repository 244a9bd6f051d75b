/**
 * Why there is no verdict:
 *
 * - `nothing-to-verify`: the input has no checkpoint.
 * - `unreadable`: a file could not be read, or a URL not be fetched.
 * - `too-large`: a checkpoint is over 64 MiB.
 * - `malformed-car`: a CAR is cut, or is not one.
 * - `bad-pin`: the DID or the head CID that was given cannot be one.
 * - `too-many`: more checkpoints than one history can have.
 * - `wasm-unavailable`: the verifier's WASM could not be loaded.
 * - `wasm-refused`: the verifier's WASM is not the one that belongs to this script.
 * - `crashed`: the verifier failed, for want of memory or by a defect. The next call has a fresh one.
 */
export type VerifyErrorCode =
  | "nothing-to-verify"
  | "unreadable"
  | "too-large"
  | "malformed-car"
  | "bad-pin"
  | "too-many"
  | "wasm-unavailable"
  | "wasm-refused"
  | "crashed";

/** There is no verdict, neither a good one nor a bad one. */
export class VerifyError extends Error {
  override readonly name = "VerifyError";
  readonly code: VerifyErrorCode;
  /** What is wrong, without what it is about and without the hint. */
  readonly problem: string;
  /** The file, CAR or URL that it is about. */
  readonly path: string | undefined;
  /** The next step, where there is one. */
  readonly hint: string | undefined;
  /** Whether the same may succeed later: the network or a host failed, not the input. */
  readonly temporary: boolean;

  constructor(code: VerifyErrorCode, problem: string, about: { path?: string; hint?: string; cause?: unknown; temporary?: boolean } = {}) {
    const { path, hint, cause, temporary = false } = about;
    super((path ? `${path}: ` : "") + problem + (hint ? ` (${hint})` : ""), cause === undefined ? {} : { cause });
    this.code = code;
    this.problem = problem;
    this.path = path;
    this.hint = hint;
    this.temporary = temporary;
  }
}
