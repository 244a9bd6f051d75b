/** What a receipt of a payment on a chain says (docs/spec/x402.md), which is signed by the key that it names. */
export interface ChainPayment {
  /** As CAIP-2 names it, such as eip155:8453. */
  readonly network: string;
  readonly did: string;
  readonly asset: string;
  readonly from: string;
  readonly to: string;
  readonly transaction: string;
  readonly nonce: string;
  /** In base units, which are microcents; decimal. */
  readonly amount: string;
  readonly block: string;
  /** Unix nanoseconds, decimal. */
  readonly time: string;
  /** How many nodes of the chain said so, of how many: the agent's word. */
  readonly agreed: number;
  readonly asked: number;
}

/** What a file of receipts has of payments on chains. */
export interface ChainPayments {
  /** The first ones. */
  readonly payments: readonly ChainPayment[];
  readonly total: number;
  /** How many more there are that nobody signed who could. */
  readonly unsigned: number;
}
