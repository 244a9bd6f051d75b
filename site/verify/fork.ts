/** One of the two that no single life has. */
export interface ForkSide {
  /** CID. */
  readonly checkpoint: string;
  readonly epoch: string;
  readonly tick: string;
  /** The log whose proof lies with it: claimed, unless it is witnessed. */
  readonly claimedLog?: string;
  /** Where it was logged, and by when witnesses of the policy had seen it. */
  readonly witnessed?: { readonly log: string; readonly index: string; readonly before?: string };
}

/** What a fork proof proves (docs/spec/forkproof.md): the same as `igor-verify fork-proof --format json` says. */
export interface ForkReport {
  readonly format: "igor-fork-report/1";
  /** The key signed what no single life has. */
  readonly proven: boolean;
  readonly did?: string;
  readonly kind?: "two-heads" | "two-checkpoints" | "head-off-chain";
  readonly sides?: readonly [ForkSide, ForkSide];
  /** Why it proves nothing. */
  readonly problem?: string;
  readonly proves: string;
  readonly doesNotProve?: string;
}
