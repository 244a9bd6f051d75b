import type { Limits } from "./limits.ts";

/** What an archive gives: a file that counts, or the name of one that does not. */
export type Entry = { readonly name: string; readonly bytes: Blob | Uint8Array<ArrayBuffer> } | { readonly name: string; readonly bytes?: undefined };

/** Smaller files stay arrays of bytes, which cost less; blobs may leave memory for the disk. */
const small = 64 << 10;

/** Collects the bytes of one file, within its limit. */
export class Collector {
  readonly name: string;
  readonly #limits: Limits;
  readonly #parts: Uint8Array<ArrayBuffer>[] = [];
  size = 0;

  constructor(name: string, limits: Limits) {
    this.name = name;
    this.#limits = limits;
  }

  /** Takes a copy. */
  push(bytes: Uint8Array): void {
    this.size += bytes.length;
    this.#limits.checkpoint(this.name, this.size);
    this.#parts.push(new Uint8Array(bytes));
  }

  /** Gives what was collected. Its parts are not to be used any more. */
  entry(): { name: string; bytes: Blob | Uint8Array<ArrayBuffer> } {
    const { name } = this;
    const [first] = this.#parts;
    if (this.size > small) return { name, bytes: new Blob(this.#parts) };
    if (this.#parts.length === 1) return { name, bytes: first! };
    const bytes = new Uint8Array(this.size);
    let at = 0;
    for (const part of this.#parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return { name, bytes };
  }
}

/** Reads a blob from one place to another, a piece at a time. */
export async function* pieces(blob: Blob, limits: Limits, signal: AbortSignal, from = 0, to = blob.size, size = 256 << 10): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let at = from; at < to; at += size) {
    signal.throwIfAborted();
    yield await read(blob, at, Math.min(at + size, to), limits);
  }
}

export async function read(blob: Blob, from: number, to: number, limits: Limits): Promise<Uint8Array<ArrayBuffer>> {
  let bytes: ArrayBuffer;
  try {
    bytes = await blob.slice(from, to).arrayBuffer();
  } catch (cause) {
    throw limits.damaged("it cannot be read: it was changed, moved or removed", cause);
  }
  if (bytes.byteLength !== Math.min(to, blob.size) - from) throw limits.damaged("it cannot be read: it was changed while it was read");
  return new Uint8Array(bytes);
}
