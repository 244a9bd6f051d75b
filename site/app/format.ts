/** Writes microcents in currency units: exactly, with no more decimals than there are. */
export function money(microcents: bigint): string {
  const unit = 1_000_000n;
  const size = microcents < 0n ? -microcents : microcents;
  const decimals = String(size % unit).padStart(6, "0").replace(/0+$/, "");
  return `${microcents < 0n ? "-" : ""}${(size / unit).toLocaleString("en")}${decimals && `.${decimals}`}`;
}

/** Shortens a hash, a CID or a DID for a place that has the whole one near it. */
export function short(text: string): string {
  return text.length <= 20 ? text : `${text.slice(0, 12)}…${text.slice(-6)}`;
}
