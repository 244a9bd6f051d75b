// Histories that are made for a test, signed with a key of their own.

import { createHash, generateKeyPairSync, sign } from "node:crypto";

const cidPrefix = Buffer.from([0x01, 0x55, 0x12, 0x20]); // CIDv1, raw, SHA-256 of 32 bytes

/**
 * Returns n checkpoints that are a whole life.
 *
 * @param {(i: number) => { state?: Buffer, budget?: bigint, price?: bigint, tick?: bigint, wasm?: number }} about what
 *   checkpoint i says; wasm numbers the agent's binaries
 * @param keys the agent's key; a fresh one if it is not given
 */
export function checkpoints(n, about = () => ({}), { publicKey, privateKey } = generateKeyPairSync("ed25519")) {
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

/** Returns a receipt of a payment on a chain (docs/spec/x402.md) that an agent signed. */
export function onChain({ publicKey, privateKey }, index, amount) {
  const key = publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const number = (n) => {
    const b = Buffer.alloc(8);
    b.writeBigInt64LE(BigInt(n));
    return b;
  };
  const message = Buffer.concat([
    Buffer.from("igor/x402-receipt/v1\0"), key, Buffer.alloc(32, index + 1), number(index), number(8453),
    Buffer.from("833589fcd6edb6e08f4c7c32d4f71b54bda02913", "hex"), Buffer.alloc(20, 0xf1), Buffer.alloc(20, 0x70), number(amount),
    Buffer.alloc(32, 0xd0 + index), number(31_000_000 + index), Buffer.alloc(32, 0xb0), Buffer.from([2, 3]), number(1_764_337_000_000_000_000n),
  ]);
  return Buffer.concat([message, sign(null, message, privateKey)]);
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
