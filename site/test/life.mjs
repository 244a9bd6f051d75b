// Histories that are made for a test, signed with a key of their own.

import { createHash, generateKeyPairSync, sign } from "node:crypto";

const cidPrefix = Buffer.from([0x01, 0x55, 0x12, 0x20]); // CIDv1, raw, SHA-256 of 32 bytes

/**
 * Returns n checkpoints that are a whole life.
 *
 * @param {(i: number) => { state?: Buffer, budget?: bigint, price?: bigint, tick?: bigint, wasm?: number }} about what
 *   checkpoint i says; wasm numbers the agent's binaries
 */
export function checkpoints(n, about = () => ({})) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const key = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const all = [];
  let previous = Buffer.alloc(32);
  for (let i = 0; i < n; i++) {
    const { state = Buffer.alloc(0), budget = 1_000_000n, price = 0n, tick = BigInt(i + 1), wasm = 0 } = about(i);
    const header = Buffer.alloc(209);
    header[0] = 4;
    header.writeBigInt64LE(budget, 1);
    header.writeBigInt64LE(price, 9);
    header.writeBigUInt64LE(tick, 17);
    createHash("sha256").update(`program ${wasm}`).digest().copy(header, 25);
    previous.copy(header, 81);
    key.copy(header, 113);
    sign(null, Buffer.concat([header.subarray(0, 145), state]), privateKey).copy(header, 145);
    const checkpoint = Buffer.concat([header, state]);
    previous = digest(checkpoint);
    all.push(checkpoint);
  }
  return all;
}

/** Returns checkpoints, in their order, as a CAR. */
export function car(checkpoints) {
  const parts = [];
  for (const checkpoint of checkpoints) {
    const length = [];
    let size = cidPrefix.length + 32 + checkpoint.length;
    for (; size >= 0x80; size = Math.floor(size / 0x80)) length.push((size & 0x7f) | 0x80);
    parts.push(Buffer.from([...length, size]), cidPrefix, digest(checkpoint), checkpoint);
  }
  const root = [Buffer.from("3aa265726f6f747381d82a582500", "hex"), cidPrefix, digest(checkpoints.at(-1)), Buffer.from("6776657273696f6e01", "hex")];
  return Buffer.concat([...root, ...parts]);
}

function digest(bytes) {
  return createHash("sha256").update(bytes).digest();
}
