// The page's side of the worker that unpacks.

import { VerifyError } from "../../verify/error.ts";
import { files, trusted } from "../files.ts";
import type { Entry, Kind } from "./archive.ts";
import type { Answer, Task } from "./unpacker.ts";

/** Unpacks an archive in a worker of its own. */
export async function* unpackInWorker(kind: Kind, path: string, blob: Blob, signal: AbortSignal): AsyncGenerator<Entry> {
  signal.throwIfAborted();
  const worker = new Worker(trusted(files.unpacker), { type: "module", name: "igor-unpack" });
  let answered: (answer: Answer) => void = () => {};
  let failed: (error: unknown) => void = () => {};
  const stop = () => failed(signal.reason);
  worker.onmessage = ({ data }: MessageEvent<Answer>) => answered(data);
  const crashed = (event: Event) => {
    event.preventDefault(); // it is reported here
    failed(new VerifyError("crashed", "the unpacker could not be started, or crashed", { path, hint: "unpack it, and give the folder" }));
  };
  worker.onerror = crashed;
  worker.onmessageerror = crashed;
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (let task: Task | null = { kind, path, blob }; ; task = null) {
      const answer = await new Promise<Answer>((resolve, reject) => {
        [answered, failed] = [resolve, reject];
        worker.postMessage(task);
      });
      if ("failure" in answer) {
        const { code, problem, ...about } = answer.failure;
        throw new VerifyError(code, problem, { ...(about.path !== undefined && { path: about.path }), ...(about.hint !== undefined && { hint: about.hint }) });
      }
      if (answer.entries.length === 0) return;
      yield* answer.entries;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    worker.terminate();
  }
}
