import { VerifyError } from "./error.ts";
import { fromPath } from "./platform.ts";

/** Bytes under a name, for whatever is not a `File` with the right name already. */
export interface Named {
  /** A checkpoint's path inside its folder, with `/` between the parts, or its file name. A name that ends in `.car` is a CAR's. */
  readonly name: string;
  readonly bytes: Blob | Uint8Array | ArrayBuffer | AsyncIterable<Uint8Array>;
}

/**
 * A checkpoint, or a CAR with a whole history. A CAR is told by a name that
 * ends in `.car`, by its media type, or, without a name, by how it begins.
 *
 * A `File` of a chosen folder counts if its name ends in `.ckpt`, and is named by its path inside that
 * folder. A `URL` is fetched, with the credentials that the page has for its own origin and no others.
 *
 * In Node, a string or a `file:` URL is the path of a checkpoint, a CAR, or a folder, which is searched as `igor-verify` does.
 */
export type Item = Blob | URL | Uint8Array | ArrayBuffer | Named | string;

/** All that is given is one history. */
export type Input = Item | Iterable<Item> | AsyncIterable<Item>;

/** Fetches an address, as the global `fetch` does. */
export type Fetch = (url: URL, init: { signal?: AbortSignal; credentials: "same-origin" }) => Promise<Response>;

/** One checkpoint that is not read yet. */
export interface CheckpointSource {
  readonly kind: "checkpoint";
  /** What it is called in a report; "" stands for its CID. */
  readonly name: string;
  /** The name as it is, where it is no UTF-8. */
  readonly rawName?: Uint8Array;
  /** What it is called in an error. */
  readonly path: string;
  readonly part: Blob | Uint8Array<ArrayBuffer>;
  readonly size: number;
}

/** One CAR that is not read yet. */
export interface CARSource {
  readonly kind: "car";
  readonly path: string;
  readonly size: number | undefined;
  /** Its bytes, in pieces that are the receiver's to keep. */
  chunks(): AsyncIterable<Uint8Array<ArrayBuffer>>;
  /** Takes the memory of a piece back. */
  reuse?(buffer: ArrayBuffer): void;
}

export type Source = CheckpointSource | CARSource;

/** The largest checkpoint: verifier.MaxCheckpointSize. */
export const maxCheckpointSize = 64 << 20;

/** How much of a CAR is read at a time. */
export const chunkSize = 1 << 20;

/** Streams that are being read: browsers may collect one that nothing but its own pending read refers to, and that read then never ends. */
const reading = new Set<object>();

const carType = "application/vnd.ipld.car";

/** How a CAR begins: the length of its header, which is never a checkpoint's version. */
const carStart = 58;

/** Returns what there is to read, in the order given. */
export async function* sources(input: Input, { signal, fetch }: { signal?: AbortSignal | undefined; fetch?: Fetch | undefined } = {}): AsyncGenerator<Source, void, void> {
  let folder: string | undefined; // a chosen folder, until a checkpoint was found in it
  let found = false;
  for await (const item of items(input)) {
    signal?.throwIfAborted();
    const local = typeof item === "string" ? item : isURL(item) && item.protocol === "file:" ? item : undefined;
    if (local !== undefined && fromPath) {
      found = true;
      yield* fromPath(local, signal);
      continue;
    }
    const path = isBlob(item) ? folderPath(item) : undefined;
    if (path === undefined) {
      found = true;
      yield isURL(item) ? await fetched(item, fetch, signal) : await source(item);
      continue;
    }
    const slash = path.indexOf("/");
    folder ??= path.slice(0, slash);
    if (!path.endsWith(".ckpt")) continue;
    found = true;
    yield checkpoint(path.slice(slash + 1), path, item as Blob);
  }
  if (!found && folder !== undefined) throw noCheckpoint(folder);
}

/** Says that a folder has no checkpoint. */
export function noCheckpoint(path: string): VerifyError {
  return new VerifyError("nothing-to-verify", "no .ckpt file in this folder or below it", {
    path,
    hint: "give the folder that has the checkpoints, or the .car file itself",
  });
}

/** The path of a file that was chosen with its folder, which is the path's first part. */
function folderPath(blob: Blob): string | undefined {
  return "webkitRelativePath" in blob && typeof blob.webkitRelativePath === "string" && blob.webkitRelativePath
    ? blob.webkitRelativePath
    : undefined;
}

/** The class of a built-in object, also of one that another window or a test's sandbox made. */
function classOf(value: unknown): string {
  return Object.prototype.toString.call(value).slice(8, -1);
}

const isBlob = (value: unknown): value is Blob => ["Blob", "File"].includes(classOf(value));
const isURL = (value: unknown): value is URL => classOf(value) === "URL";
const isBytes = (value: unknown): value is Uint8Array<ArrayBuffer> => classOf(value) === "Uint8Array";
const isBuffer = (value: unknown): value is ArrayBuffer => classOf(value) === "ArrayBuffer";

/** The bytes of one checkpoint. */
export function asBytes(value: Uint8Array | ArrayBuffer): Uint8Array {
  if (isBytes(value)) return value;
  if (isBuffer(value)) return new Uint8Array(value);
  throw new TypeError(`cannot inspect ${described(value)}: give a Uint8Array or an ArrayBuffer`);
}

const isIterable = (value: unknown): value is AsyncIterable<never> =>
  value instanceof Object && (Symbol.asyncIterator in value || Symbol.iterator in value);

function items(input: Input): Iterable<Item> | AsyncIterable<Item> {
  const one = ["Blob", "File", "URL", "Uint8Array", "ArrayBuffer"].includes(classOf(input)) || ArrayBuffer.isView(input);
  return !one && isIterable(input) ? input : [input as Item];
}

async function source(item: Exclude<Item, URL>): Promise<Source> {
  if (isBytes(item) || isBuffer(item)) item = new Blob([item]);
  if (isBlob(item)) {
    const name = "name" in item && typeof item.name === "string" ? item.name : "";
    const isCAR = isCARName(name) || item.type === carType || (name === "" && (await beginsLikeCAR(item)));
    return isCAR ? blobCAR(name || "CAR", item) : checkpoint(name, name || "checkpoint", item);
  }
  if (typeof item === "string") throw new TypeError(`cannot verify a string, ${quoted(item)}: for an address give new URL(…), for bytes { name, bytes }`);
  const { name, bytes } = Object(item) as Partial<Named>;
  if (typeof name !== "string" || bytes === undefined) {
    throw new TypeError(`cannot verify ${described(item)}: give a File, Blob, FileList, URL, Uint8Array, ArrayBuffer, { name, bytes }, or an iterable of these`);
  }
  if (isBlob(bytes) || isBytes(bytes) || isBuffer(bytes)) {
    const part = isBuffer(bytes) ? new Uint8Array(bytes) : bytes;
    if (!isCARName(name)) return checkpoint(name, name, part as Blob | Uint8Array<ArrayBuffer>);
    return blobCAR(name, isBlob(part) ? part : new Blob([part as Uint8Array<ArrayBuffer>]));
  }
  if (typeof bytes === "string" || !isIterable(bytes)) {
    throw new TypeError(`the bytes of ${quoted(name)} are ${described(bytes)}: give a Blob, Uint8Array, ArrayBuffer, or a stream of Uint8Array`);
  }
  if (isCARName(name)) return { kind: "car", path: name, size: undefined, chunks: () => pieces(bytes) };
  return checkpoint(name, name, await collect(name, bytes));
}

const quoted = (text: string) => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);

function described(value: unknown): string {
  if (typeof value === "string") return `a string, ${quoted(value)}`;
  return value instanceof Object ? `an object of class ${value.constructor?.name ?? classOf(value)}` : String(value);
}

export function isCARName(name: string): boolean {
  return name.endsWith(".car");
}

async function beginsLikeCAR(blob: Blob): Promise<boolean> {
  return new Uint8Array(await read(blob.slice(0, 1), "checkpoint"))[0] === carStart;
}

function checkpoint(name: string, path: string, part: CheckpointSource["part"]): CheckpointSource {
  const size = isBlob(part) ? part.size : part.length;
  if (size > maxCheckpointSize) throw tooLarge(path);
  return { kind: "checkpoint", name, path, part, size };
}

export function tooLarge(path: string): VerifyError {
  return new VerifyError("too-large", "too large for a checkpoint, which has at most 64 MiB", { path });
}

function blobCAR(path: string, blob: Blob): CARSource {
  let spare: ArrayBuffer | undefined;
  const buffer = () => {
    const taken = spare ?? new ArrayBuffer(chunkSize);
    spare = undefined;
    return taken;
  };
  return {
    kind: "car",
    path,
    size: blob.size,
    chunks: () => contents(blob, path, buffer),
    reuse: (buffer) => (spare = buffer),
  };
}

/** The bytes of a blob, read as one stream: reading slice by slice takes Chromium ten times the work. */
async function* contents(blob: Blob, path: string, buffer: () => ArrayBuffer): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let size = 0;
  const body = blob.stream();
  reading.add(body);
  const reader = filling(body, buffer);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.length;
      yield value;
    }
  } catch (cause) {
    throw changed(path, cause);
  } finally {
    reading.delete(body);
    await reader.cancel().catch(() => {});
  }
  if (size !== blob.size) throw changed(path);
}

type Reader = Pick<ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>, "read" | "cancel">;

/** A reader that fills the given buffers, where the browser has one. */
function filling(stream: ReadableStream<Uint8Array<ArrayBuffer>>, buffer: () => ArrayBuffer): Reader {
  try {
    const reader = stream.getReader({ mode: "byob" });
    const read = () => reader.read(new Uint8Array(buffer())) as ReturnType<Reader["read"]>;
    return { read, cancel: () => reader.cancel() };
  } catch {
    return stream.getReader();
  }
}

async function fetched(url: URL, fetch: Fetch = globalThis.fetch, signal?: AbortSignal): Promise<Source> {
  const path = url.href;
  let response: Response;
  try {
    response = await fetch(url, { ...(signal && { signal }), credentials: "same-origin" });
  } catch (cause) {
    signal?.throwIfAborted();
    throw new VerifyError("unreadable", "could not be fetched", {
      path,
      hint: "check the address, and that its host allows this page to read it (CORS)",
      cause,
      temporary: true,
    });
  }
  if (!response.ok || !response.body) {
    const temporary = [408, 425, 429].includes(response.status) || response.status >= 500;
    const hint = temporary ? "try again later" : "check the address";
    throw new VerifyError("unreadable", `could not be fetched: HTTP status ${response.status}`, { path, hint, temporary });
  }
  const body = stream(response.body, path, signal);
  const type = response.headers.get("content-type") ?? "";
  if (isCARName(url.pathname) || type.split(";")[0]!.trim() === carType) {
    return { kind: "car", path, size: undefined, chunks: () => pieces(body) };
  }
  return checkpoint(fileName(url), path, await collect(path, body));
}

function fileName(url: URL): string {
  const last = url.pathname.slice(url.pathname.lastIndexOf("/") + 1);
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

/** The bytes of a response. Not every browser can iterate a stream. */
export async function* stream<Bytes extends Uint8Array>(body: ReadableStream<Bytes>, path: string, signal?: AbortSignal): AsyncGenerator<Bytes> {
  reading.add(body);
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (cause) {
    signal?.throwIfAborted();
    throw new VerifyError("unreadable", "the connection broke", { path, hint: "try again", cause, temporary: true });
  } finally {
    reading.delete(body);
    await reader.cancel().catch(() => {});
  }
}

/** Copies what a caller yields, which stays the caller's, in pieces of a bounded size. */
async function* pieces(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  reading.add(bytes);
  try {
    for await (const piece of bytes) {
      if (!isBytes(piece)) throw new TypeError(`a stream of bytes gave ${described(piece)}: it has to give Uint8Array`);
      for (let at = 0; at < piece.length; at += chunkSize) {
        yield new Uint8Array(piece.subarray(at, at + chunkSize));
      }
    }
  } finally {
    reading.delete(bytes);
  }
}

async function collect(path: string, bytes: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const piece of pieces(bytes)) {
    size += piece.length;
    if (size > maxCheckpointSize) throw tooLarge(path);
    parts.push(piece);
  }
  return concatenate(parts, size);
}

function concatenate(parts: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Reads checkpoints, one after the other, into a buffer that is the receiver's to keep. */
export async function readAll(batch: readonly CheckpointSource[]): Promise<Uint8Array<ArrayBuffer>> {
  const size = batch.reduce((sum, { size }) => sum + size, 0);
  const parts = batch.map(({ part }) => part);
  if (!parts.some(isBlob)) return concatenate(parts as Uint8Array[], size);
  // One read of all of them is many times faster than a read of each.
  const bytes = await new Blob(parts).arrayBuffer().catch(() => undefined);
  if (bytes?.byteLength === size) return new Uint8Array(bytes);
  for (const { part, path, size } of batch) {
    if (isBlob(part) && (await read(part, path)).byteLength !== size) throw changed(path);
  }
  throw changed(batch[0]!.path);
}

async function read(blob: Blob, path: string): Promise<ArrayBuffer> {
  try {
    return await blob.arrayBuffer();
  } catch (cause) {
    throw changed(path, cause);
  }
}

function changed(path: string, cause?: unknown): VerifyError {
  return new VerifyError("unreadable", "cannot be read: it was changed, moved or removed, or may not be read", {
    path,
    hint: "choose it again",
    cause,
  });
}
