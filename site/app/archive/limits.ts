// What an archive says of itself is not believed: these count what comes out of it.

import { VerifyError } from "../../verify/error.ts";

/** How much may come out of an archive. A larger one is for a folder, which needs no memory. */
export const maxUnpacked = 1 << 30;

/** How many entries an archive may have. */
export const maxEntries = 1 << 18;

/** The largest checkpoint: verifier.MaxCheckpointSize. */
const maxCheckpoint = 64 << 20;

export const askAgain = "ask for the file again, or for the checkpoints themselves";
export const unpackIt = "unpack it with a tool that you trust, and give the folder";

/** Counts what comes out of one archive, and words what is wrong with it. */
export class Limits {
  readonly path: string;
  #bytes = 0;
  #entries = 0;

  constructor(path: string) {
    this.path = path;
  }

  entry(): void {
    if (++this.#entries > maxEntries) throw this.#tooLarge(`it has more than ${maxEntries} files`);
  }

  bytes(n: number): void {
    this.#bytes += n;
    if (this.#bytes > maxUnpacked) throw this.#tooLarge("it unpacks to more than 1 GiB");
  }

  /** Refuses a checkpoint of this size, if it is over the limit for one. */
  checkpoint(name: string, size: number): void {
    if (size <= maxCheckpoint || !/\.ckpt$/i.test(name)) return;
    throw new VerifyError("too-large", "too large for a checkpoint, which has at most 64 MiB", { path: `${this.path}/${name}` });
  }

  #tooLarge(problem: string): VerifyError {
    return new VerifyError("too-large", problem, { path: this.path, hint: unpackIt });
  }

  /** It is cut, or its bytes were changed. */
  damaged(problem = "it is damaged", cause?: unknown): VerifyError {
    return new VerifyError("unreadable", problem, { path: this.path, hint: askAgain, cause });
  }

  /** It is whole, but in a form that this page does not read. */
  unsupported(problem: string, hint = "unpack it first, and give the folder"): VerifyError {
    return new VerifyError("unreadable", problem, { path: this.path, hint });
  }

  /** Two unpackers in common use could make different files of it, of which the page would have seen one kind. */
  ambiguous(why: string): VerifyError {
    return new VerifyError("unreadable", `it is an ambiguous archive, which programs unpack differently: ${why}`, { path: this.path, hint: unpackIt });
  }
}
