/** Writes microcents in currency units, as verifier.FormatMicrocents does. */
export function money(microcents: bigint): string {
  const unit = 1_000_000n;
  const size = microcents < 0n ? -microcents : microcents;
  return `${microcents < 0n ? "-" : ""}${size / unit}.${String(size % unit).padStart(6, "0")}`;
}

/** Shortens a hash, a CID or a DID for a place that has the whole one near it. */
export function short(text: string): string {
  return text.length <= 20 ? text : `${text.slice(0, 12)}…${text.slice(-6)}`;
}
