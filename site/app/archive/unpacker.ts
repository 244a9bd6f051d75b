// The worker that unpacks archives, so that the page's thread has none of the work. It is
// asked for some files at a time, until there are no more.

import { VerifyError } from "../../verify/error.ts";
import { unpack, type Entry, type Failure, type Kind } from "./archive.ts";

/** The first message says what to unpack, each later one asks for more. */
export interface Task {
  kind: Kind;
  path: string;
  blob: Blob;
}

/** An answer: the next files, or why there are none. None means the end. */
export type Answer = { entries: Entry[] } | { failure: Failure };

/** An answer has about so many files, or bytes of them. */
const answerLength = 512;
const answerSize = 1 << 20;

const post = postMessage as (answer: Answer, options?: StructuredSerializeOptions) => void;

let files: AsyncGenerator<Entry> | undefined;

addEventListener("message", async ({ data }: MessageEvent<Task | null>) => {
  try {
    if (data) files = unpack(data.kind, data.path, data.blob, new AbortController().signal);
    const entries: Entry[] = [];
    const buffers = new Set<ArrayBuffer>();
    for (let size = 0; entries.length < answerLength && size < answerSize; ) {
      const { value, done } = await files!.next();
      if (done) break;
      entries.push(value);
      if (value.bytes instanceof Uint8Array) buffers.add(value.bytes.buffer);
      size += value.bytes instanceof Uint8Array ? value.bytes.length : 64;
    }
    post({ entries }, { transfer: [...buffers] });
  } catch (error) {
    const { code, problem, path, hint } =
      error instanceof VerifyError ? error : { code: "crashed" as const, problem: `the unpacker failed: ${String(error)}`, path: undefined, hint: undefined };
    post({ failure: { code, problem, path, hint } });
  }
});
