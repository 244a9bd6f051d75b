import type { ProblemCode } from "./report.ts";

/** A row of a checkpoint's offset table. */
export interface Field {
  readonly name: string;
  /** In bytes, from the checkpoint's beginning. */
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
  readonly type: "uint8" | "int64" | "uint64" | "bytes";
  /** Unit or meaning, for people. */
  readonly note: string;
  /** In decimal, or in hex for a hash or a key; absent for the signature and the state. */
  readonly value?: string;
}

/** What one checkpoint claims, and what examining it alone finds. */
export interface Inspection {
  /** In bytes. */
  readonly size: number;
  readonly cid: string;
  /** SHA-256 of all its bytes, in hex. */
  readonly contentHash: string;
  /** The identity that it claims. */
  readonly did?: string;
  /** The CID of its predecessor; absent for a genesis. */
  readonly previous?: string;
  readonly signature: "valid" | "invalid" | "none";
  readonly problems: readonly ProblemCode[];
  /** The offset table, with the state as its last row; empty if the bytes are no checkpoint. */
  readonly fields: readonly Field[];
}
