// What differs between the browser and Node. The build program puts
// platform-node.ts in the place of this file for Node.

import type { KindOf, Source } from "./input.ts";
import { begins, wasmMagic } from "./magic.ts";

/** A worker, as the pool sees it. */
export interface Port {
  post(message: unknown, transfer: ArrayBuffer[]): void;
  /** Says whether an answer is awaited: in Node, only then a worker keeps the process. */
  busy(yes: boolean): void;
  terminate(): void;
}

export const wasmURL = new URL("./igor-verify.wasm", import.meta.url);
const gzipURL = new URL("./igor-verify.wasm.gz", import.meta.url); // for bundlers, which follow what is written so
export const workerURL = IGOR_WORKER
  ? new URL(URL.createObjectURL(new Blob([IGOR_WORKER], { type: "text/javascript" })))
  : new URL("./worker.js", import.meta.url);

/** How many workers can run at the same time. */
export function cores(): number {
  return navigator.hardwareConcurrency || 1;
}

/**
 * The Trusted Types policy, which takes the worker's address as it is: it is never anything but
 * this script's own or what `configure` was given. A page that names its policies has to name
 * it, or no worker starts.
 */
let policy: { createScriptURL(url: string): unknown } | undefined;

function trusted(url: URL): URL {
  const { trustedTypes } = globalThis as unknown as {
    trustedTypes?: { createPolicy(name: string, rules: { createScriptURL(url: string): string }): typeof policy };
  };
  try {
    policy ??= trustedTypes?.createPolicy("igor-verify", { createScriptURL: (url) => url });
  } catch {
    return url; // the page names its policies, and not this one
  }
  return policy ? (policy.createScriptURL(url.href) as URL) : url;
}

/** Starts a worker. Throws, or fails later, where the page or its host forbids it. */
export function startWorker(url: URL, receive: (message: unknown) => void, fail: (cause: unknown) => void): Port {
  const worker = new Worker(trusted(url), { type: "module", name: "igor-verify" });
  worker.onmessage = (event) => receive(event.data);
  worker.onmessageerror = fail;
  worker.onerror = (event) => {
    event.preventDefault(); // the pool reports it
    fail(event);
  };
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    busy() {},
    terminate: () => worker.terminate(),
  };
}

/** Reads the WASM. Where the host did not compress it, its compressed form is read instead, if there is one. */
export async function readWASM(url: URL): Promise<Response> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`HTTP status ${response.status}`);
  const compressed = response.headers.has("content-encoding") || new URL(url).origin !== location.origin;
  if (compressed || !("DecompressionStream" in globalThis)) return response;
  const beside = new URL(url);
  beside.pathname += ".gz";
  const gz = await fetch(url.href === wasmURL.href ? gzipURL : beside).catch(() => undefined);
  if (!gz?.ok) return response;
  const bytes = await gz.arrayBuffer();
  const isGzip = begins(bytes, "\x1f\x8b");
  if (!isGzip && !begins(bytes, wasmMagic)) return response; // some hosts answer with a page where they have no file
  await response.body?.cancel();
  const headers = { "content-type": "application/wasm" };
  if (!isGzip) return new Response(bytes, { headers }); // the host declared its coding, and the browser undid it
  const unzip = new DecompressionStream("gzip");
  const writer = unzip.writable.getWriter();
  for (const done of [writer.write(bytes), writer.close()]) done.catch(() => {}); // who reads the response sees it
  return new Response(unzip.readable, { headers });
}

/** Reads files by their path, which only Node can. */
export const fromPath = undefined as ((path: string | URL, kindOf: KindOf, signal?: AbortSignal) => AsyncIterable<Source>) | undefined;

/** Whether a worker can be given any blob to read. */
export const blobsForWorkers: boolean = true;

/** Lets the page handle its events. */
export function pause(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => (port1.close(), resolve());
    port2.postMessage(0);
  });
}
