// What is read piece by piece.

import { VerifyError } from "./error.ts";

/** Pieces of bytes. `next(n)` asks for n bytes and never more, which a source that cannot choose ignores. */
export type Pieces = AsyncGenerator<Uint8Array<ArrayBuffer>, void, number | undefined>;

/** How much of a CAR is read at a time. */
export const chunkSize = 1 << 20;

/** What stands before a block's bytes in a CAR is no longer than this. */
export const blockStartSize = 64;

/** So much Chromium's processes hand each other of a blob at a time. Each costs the work of five threads, however it is read. */
export const blobPartSize = 64 << 10;

/** So much is read at most, and so large is the memory that is used again: a block with 1 MiB of state is one piece. */
export const maxPieceSize = chunkSize + blobPartSize;

/** Where workers read a CAR, its blocks are no larger than this (range.ts). */
export const maxRangeBlock = 4 << 20;

/** Streams that are being read: browsers may collect one that nothing but its own pending read refers to, and that read then never ends. */
export const reading = new Set<object>();

/** Says that a file is not what it was when it was chosen. */
export function changed(path: string, cause?: unknown): VerifyError {
  return new VerifyError("unreadable", "cannot be read: it was changed, moved or removed, or may not be read", {
    path,
    hint: "choose it again",
    cause,
  });
}

/** Says that a host did not answer, or does not let this page read its answer. */
export function notFetched(path: string, cause: unknown): VerifyError {
  return new VerifyError("unreadable", "could not be fetched", {
    path,
    hint: "check the address, and that its host allows this page to read it (CORS)",
    cause,
    temporary: true,
  });
}

/** Whether a server answered with all of a file. A part of one (status 206) that nobody asked for would be judged as if it were the file. */
export const isWhole = ({ ok, status }: Response) => ok && status !== 206;
