// The CID of a checkpoint in text: docs/spec/checkpoint.md.

const alphabet = "abcdefghijklmnopqrstuvwxyz234567";

/** What stands before the hash: CIDv1, raw, sha2-256. */
const prefix = [0x01, 0x55, 0x12, 0x20];

/** The CID of what has a hash. */
export function cidOf(hash: Uint8Array): string {
  let text = "b";
  let bits = 0;
  let value = 0;
  for (const byte of [...prefix, ...hash]) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >> (bits - 5)) & 31];
    value &= 0xff;
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text;
}

/** Whether a text is such a CID. */
export function isCID(text: string): boolean {
  return /^bafkrei[a-z2-7]{52}$/.test(text);
}

/** Whether a text is an agent's DID. */
export function isDID(text: string): boolean {
  return /^did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44}$/.test(text);
}
