// Reads the bytes of blobs, on the page's thread or in a worker.

import type { CheckpointSource } from "./input.ts";
import { changed, chunkSize, maxPieceSize, reading, type Pieces } from "./pieces.ts";

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
      // A browser that does not know `min` answers with less, time and again.
      const { value, done } = await reader.read(new Uint8Array(memory, filled, want - filled), { min: want - filled });
      if (value) memory = value.buffer as ArrayBuffer;
      filled += value?.length ?? 0;
      if (done || filled === want) return filled > 0 ? new Uint8Array(memory, 0, filled) : undefined;
    }
  };
  return { read, cancel: () => reader.cancel() };
}

/** Reads checkpoints of blobs, one after the other, into a buffer of so many bytes that is the receiver's to keep. */
export async function readBlobs(batch: readonly CheckpointSource[], size: number): Promise<Uint8Array<ArrayBuffer>> {
  // One read of all of them is many times faster than a read of each.
  const bytes = await new Blob(batch.map(({ part }) => part)).arrayBuffer().catch(() => undefined);
  if (bytes?.byteLength === size) return new Uint8Array(bytes);
  for (const { part, path, size } of batch) {
    if (!("size" in part)) continue;
    const bytes = await part.arrayBuffer().catch((cause: unknown) => {
      throw changed(path, cause);
    });
    if (bytes.byteLength !== size) throw changed(path);
  }
  throw changed(batch[0]!.path);
}
