// Deflate and gzip, as zlib has them.

import { Inflate } from "pako";
import { pieces } from "./entry.ts";
import type { Limits } from "./limits.ts";

/** Output comes in pieces of this size. */
const chunkSize = 64 << 10;

/** What of pako's stream has no place in its types: how much of the last input was not used. */
interface Stream {
  strm: { next_in: number; avail_in: number };
}

/** Undoes raw deflate of all of the input. Returns false if it goes on after its end; throws what zlib says of damage. */
export async function inflate(input: AsyncIterable<Uint8Array>, size: number, output: (bytes: Uint8Array) => void): Promise<boolean> {
  const inflater = new Inflate({ raw: true, chunkSize: Math.min(Math.max(size, 1), chunkSize) });
  inflater.onData = output;
  for await (const piece of input) {
    if (inflater.ended) return false;
    if (!inflater.push(piece, false)) throw new Error(inflater.msg);
    if (inflater.ended && (inflater as unknown as Stream).strm.avail_in > 0) return false;
  }
  if (!inflater.ended) throw new Error("it ends too early");
  return true;
}

/**
 * Undoes gzip as gzip and tar do: of any number of members, with their checksums, and zeros after
 * the last. Other bytes there are refused: of those, some programs make an error and some nothing.
 */
export async function* gunzip(blob: Blob, limits: Limits, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let output: Uint8Array[] = [];
  const start = () => {
    const member = new Inflate({ windowBits: 31, chunkSize });
    member.onData = (bytes) => {
      limits.bytes(bytes.length);
      output.push(bytes);
    };
    return member;
  };
  let member = start();
  let padding = false;
  // Small pieces: each may become a thousand times as large.
  for await (const piece of pieces(blob, limits, signal, 0, blob.size, 16 << 10)) {
    let rest: Uint8Array = piece;
    while (rest.length > 0) {
      if (member.ended) {
        const zeros = rest.findIndex((byte) => byte !== 0);
        padding ||= zeros !== 0;
        if (zeros < 0) break;
        if (padding || rest[0] !== 0x1f) throw limits.ambiguous("it has other bytes after its end");
        member = start();
      }
      if (!member.push(rest, false)) {
        // What comes first was looked at, so this is what comes after a member.
        if (member.msg === "incorrect header check") throw limits.ambiguous("it has other bytes after its end");
        throw limits.damaged("it is damaged", member.msg);
      }
      yield* output;
      output = [];
      rest = member.ended ? rest.slice(rest.length - (member as unknown as Stream).strm.avail_in) : rest.subarray(rest.length);
    }
  }
  if (!member.ended) throw limits.damaged("it is cut");
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/** The CRC-32 of bytes, or with them of those before. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
