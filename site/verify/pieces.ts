// Reads the bytes of a blob piece by piece, on the page's thread or in a worker.

import { VerifyError } from "./error.ts";

/** Pieces of bytes. `next(n)` asks for n bytes and never more, which a source that cannot choose ignores. */
export type Pieces = AsyncGenerator<Uint8Array<ArrayBuffer>, void, number | undefined>;

/** How much of a CAR is read at a time. */
export const chunkSize = 1 << 20;

/** What stands before a block's bytes in a CAR is no longer than this. */
export const blockStartSize = 64;

/** So much is read at most, and so large is the memory that is used again: a block with 1 MiB of state is one piece. */
export const maxPieceSize = chunkSize + (4 << 10);

/** Where workers read a CAR, its blocks are no larger than this (range.ts). */
export const maxRangeBlock = 4 << 20;

/** Memory of pieces, to be used again. */
export class Spare {
  #buffers: ArrayBuffer[] = [];
  #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  take(): ArrayBuffer {
    return this.#buffers.pop() ?? new ArrayBuffer(maxPieceSize);
  }

  /** Takes the memory of a piece back. */
  put(buffer: ArrayBuffer): void {
    if (buffer.byteLength === maxPieceSize && this.#buffers.length < this.#most) this.#buffers.push(buffer);
  }
}

/** Streams that are being read: browsers may collect one that nothing but its own pending read refers to, and that read then never ends. */
export const reading = new Set<object>();

/** The bytes of a blob, read as one stream: reading slice by slice takes Chromium twice the work. */
export async function* contents(blob: Blob, path: string, spare: Spare): Pieces {
  let size = 0;
  let want: number | undefined;
  const body = blob.stream();
  reading.add(body);
  const reader = filling(body, spare);
  try {
    for (;;) {
      const piece = await reader.read(Math.min(want ?? chunkSize, maxPieceSize));
      if (!piece) break;
      size += piece.length;
      want = yield piece;
    }
  } catch (cause) {
    throw changed(path, cause);
  } finally {
    reading.delete(body);
    await reader.cancel().catch(() => {});
  }
  if (size !== blob.size) throw changed(path);
}

/** Says that a file is not what it was when it was chosen. */
export function changed(path: string, cause?: unknown): VerifyError {
  return new VerifyError("unreadable", "cannot be read: it was changed, moved or removed, or may not be read", {
    path,
    hint: "choose it again",
    cause,
  });
}

/** Reads so many bytes, or, where the browser chooses, some; undefined at the end. */
interface Reader {
  read(want: number): Promise<Uint8Array<ArrayBuffer> | undefined>;
  cancel(): Promise<void>;
}

/** A reader that fills the given buffers, where the browser has one. */
function filling(stream: ReadableStream<Uint8Array<ArrayBuffer>>, spare: Spare): Reader {
  let reader: ReadableStreamBYOBReader;
  try {
    reader = stream.getReader({ mode: "byob" });
  } catch {
    const reader = stream.getReader();
    return { read: async () => (await reader.read()).value, cancel: () => reader.cancel() };
  }
  const read = async (want: number) => {
    let memory = spare.take();
    for (let filled = 0; ; ) {
      const { value, done } = await reader.read(new Uint8Array(memory, filled, want - filled));
      if (value) memory = value.buffer as ArrayBuffer;
      filled += value?.length ?? 0;
      if (done || filled === want) return filled > 0 ? new Uint8Array(memory, 0, filled) : undefined;
    }
  };
  return { read, cancel: () => reader.cancel() };
}
