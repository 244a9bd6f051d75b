// The hostcalls of docs/spec/abi.md. A program imports those that it calls.

// @ts-ignore: decorator
@external("igor", "clock_now")
export declare function clock_now(): i64;
// @ts-ignore: decorator
@external("igor", "rand_bytes")
export declare function rand_bytes(ptr: usize, len: i32): i32;
// @ts-ignore: decorator
@external("igor", "log_emit")
export declare function log_emit(ptr: usize, len: i32): void;
// @ts-ignore: decorator
@external("igor", "wallet_balance")
export declare function wallet_balance(): i64;
// @ts-ignore: decorator
@external("igor", "wallet_receipt_count")
export declare function wallet_receipt_count(): i32;
// @ts-ignore: decorator
@external("igor", "wallet_receipt")
export declare function wallet_receipt(index: i32, ptr: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("igor", "node_price")
export declare function node_price(): i64;
// @ts-ignore: decorator
@external("igor", "http_request")
export declare function http_request(
  method: usize, methodLen: i32, url: usize, urlLen: i32, headers: usize, headersLen: i32, body: usize, bodyLen: i32,
  resp: usize, respCap: i32,
): i32;
// @ts-ignore: decorator
@external("igor", "wallet_pay")
export declare function wallet_pay(
  amount: i64, recipient: usize, recipientLen: i32, memo: usize, memoLen: i32, receipt: usize, receiptCap: i32,
): i32;
// @ts-ignore: decorator
@external("igor", "kv_get")
export declare function kv_get(key: usize, keyLen: i32, val: usize, valCap: i32): i32;
// @ts-ignore: decorator
@external("igor", "kv_put")
export declare function kv_put(key: usize, keyLen: i32, val: usize, valLen: i32): i32;
// @ts-ignore: decorator
@external("igor", "kv_delete")
export declare function kv_delete(key: usize, keyLen: i32): i32;
// @ts-ignore: decorator
@external("igor", "node_id")
export declare function node_id(ptr: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("igor", "peer_count")
export declare function peer_count(): i32;
// @ts-ignore: decorator
@external("igor", "peer_offer")
export declare function peer_offer(index: i32, ptr: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("igor", "migrate")
export declare function migrate(did: usize, didLen: i32): i32;
// @ts-ignore: decorator
@external("igor", "migrate_status")
export declare function migrate_status(): i32;
// @ts-ignore: decorator
@external("igor", "drain_deadline")
export declare function drain_deadline(): i64;

/** The length before a body or a receipt, and the size that a buffer would need. */
// @ts-ignore: decorator
@inline export const SIZE: i32 = 4;

/** Where a buffer begins. */
// @ts-ignore: decorator
@inline export function at(b: ArrayBuffer): usize {
  return changetype<usize>(b);
}

export function utf8(s: string): ArrayBuffer {
  return String.UTF8.encode(s);
}

/** The number that a buffer begins with. */
export function number(b: ArrayBuffer): u32 {
  return load<u32>(changetype<usize>(b));
}

/** What is in a buffer behind its length, or null if there cannot be so much. */
export function sized(b: ArrayBuffer): Uint8Array | null {
  const n = number(b);
  if (n > u32(b.byteLength - SIZE)) return null;
  return Uint8Array.wrap(b.slice(SIZE, SIZE + n));
}
