// What differs between the browser and Node: see platform.ts.

import { readFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Port } from "./platform.ts";

export { fromPath } from "./files-node.ts";
export type { Port };

export const wasmURL = new URL("./igor-verify.wasm", import.meta.url);
export const workerURL = new URL("./worker-node.js", import.meta.url);

export const cores = availableParallelism;

export function startWorker(url: URL, receive: (message: unknown) => void, fail: (cause: unknown) => void): Port {
  const worker = new Worker(url);
  worker.on("message", receive);
  worker.on("messageerror", fail);
  worker.on("error", fail);
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    busy: (yes) => (yes ? worker.ref() : worker.unref()),
    terminate: () => void worker.terminate(),
  };
}

export async function readWASM(url: URL): Promise<Response> {
  if (url.protocol === "file:") return new Response(new Uint8Array(await readFile(url)), { headers: { "content-type": "application/wasm" } });
  const response = await fetch(url);
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  return response;
}

/** A blob of a file cannot be given to a worker. */
export const blobsForWorkers = false;

export async function pause(): Promise<void> {
  await setImmediate();
}
