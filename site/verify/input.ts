import type { Spare } from "./blob.ts";
import { VerifyError } from "./error.ts";
import { isBesideName } from "./names.ts";
import { changed, chunkSize, isWhole, notFetched, reading, type Pieces } from "./pieces.ts";
import { blobsForWorkers, fromPath } from "./platform.ts";

/** Bytes under a name, for whatever is not a `File` with the right name already. */
export interface Named {
  /** A checkpoint's path inside its folder, with `/` between the parts, or its file name. A name that ends in `.car` is a CAR's. */
  readonly name: string;
  readonly bytes: Blob | Uint8Array | ArrayBuffer | AsyncIterable<Uint8Array>;
}

/** A file in a folder, or in an archive, of which the name alone decides whether it is part of the history. Where it is none, its bytes need not be there. */
export interface InFolder {
  /** Its path inside the folder, with `/` between the parts. */
  readonly name: string;
  readonly inFolder: true;
  readonly bytes?: Blob | Uint8Array<ArrayBuffer> | undefined;
}

/**
 * A checkpoint, or a CAR with a whole history, told by its name and how it begins, whatever its media type. What is
 * neither is left out, and the report says so; an archive or a web page is an error.
 *
 * A `File` of a chosen folder counts if its name ends in `.ckpt`, or is a segment's, such as `0000000001-0000000009.car`. A checkpoint
 * is named by its path inside that folder. A `URL` is fetched, with the credentials that the page has for its own origin and no others.
 *
 * In Node, a string or a `file:` URL is the path of a checkpoint, a CAR, or a folder, which is searched as `igor-verify` does.
 */
export type Item = Blob | URL | Uint8Array | ArrayBuffer | Named | InFolder | string;

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
  /** Where its bytes are, if workers can read them too. */
  readonly blob?: Blob;
  /** Its bytes, in pieces that are the receiver's to keep; of a blob, from some place on. */
  chunks(from?: number): Pieces;
  /** Takes the memory of a piece back. */
  reuse?(buffer: ArrayBuffer): void;
}

/** A file that is no part of the history, which the report says. */
export interface LeftOutSource {
  readonly kind: "left-out";
  /** What it is called in a report. With a / at its end, it is a link to a folder. */
  readonly name: string;
  /** The name as it is, where it is no UTF-8. */
  readonly rawName?: Uint8Array;
  /** What it is called in an error, if not by its name. */
  readonly path?: string;
  /** How it begins, if its name alone does not decide. */
  readonly start: Uint8Array;
  /** Its bytes, if it may be looked at beside the history (beside.ts). */
  readonly part?: Blob | Uint8Array<ArrayBuffer>;
  /** It was not given, but found where such files lie. */
  readonly found?: boolean;
  /** What it is, and what to do with it: of a file that was given by itself. */
  readonly about?: Kind;
}

export type Source = CheckpointSource | CARSource | LeftOutSource;

/** What an input is: docs/spec/lineage.md, "Inputs". */
export interface Kind {
  readonly kind: string;
  /** Whether it is judged, is no part of the history, or keeps it from a verdict. */
  readonly use: "read" | "leave-out" | "refuse";
  /** What it is, for people. */
  readonly what: string;
  /** What to do about it. */
  readonly next: string;
  /** What it is looked at for beside a history, or empty. */
  readonly role: string;
}

/** Asks the verifier what an input is. */
export type KindOf = (name: string, start: Uint8Array) => Promise<Kind>;

/** The largest checkpoint: verifier.MaxCheckpointSize. */
export const maxCheckpointSize = 64 << 20;

/** How many pieces of memory wait to be used again: no more are under way at the same time. */
const maxSpare = 24;

/** So much of a file decides what it is. */
export const startSize = 512;

/** Returns what there is to read, in the order given. */
export async function* sources(
  input: Input,
  kindOf: KindOf,
  { signal, fetch }: { signal?: AbortSignal | undefined; fetch?: Fetch | undefined } = {},
): AsyncGenerator<Source, void, void> {
  const found = new Map<string, boolean>(); // whether a chosen folder has something to verify
  for await (const item of items(input)) {
    signal?.throwIfAborted();
    const local = typeof item === "string" ? item : isURL(item) && item.protocol === "file:" ? item : undefined;
    if (local !== undefined && fromPath) {
      yield* fromPath(local, kindOf, signal);
      continue;
    }
    if (item instanceof Object && "inFolder" in item) {
      yield item.bytes ? inFolder(item.name, item.name, item.bytes) : leftOut(item.name);
      continue;
    }
    const path = isBlob(item) ? folderPath(item) : undefined;
    if (path === undefined) {
      yield isURL(item) ? await fetched(item, kindOf, fetch, signal) : await source(item as Exclude<Item, URL | InFolder>, kindOf);
      continue;
    }
    const slash = path.indexOf("/");
    const folder = path.slice(0, slash);
    const name = path.slice(slash + 1);
    found.set(folder, found.get(folder) || isPartName(name));
    yield inFolder(name, path, item as Blob);
  }
  for (const [folder, has] of found) if (!has) throw noCheckpoint(folder);
}

/** A file in a folder, of which the name alone decides whether it is part of the history. */
function inFolder(name: string, path: string, part: Blob | Uint8Array<ArrayBuffer>): Source {
  if (isCheckpointName(name)) return checkpoint(name, path, part);
  return isSegmentName(name) ? blobCAR(path, isBlob(part) ? part : new Blob([part])) : { ...leftOut(name), ...(isBesideName(name) && { part }) };
}

/** Whether a file in a folder is part of the history. */
export function isPartName(path: string): boolean {
  return isCheckpointName(path) || isSegmentName(path);
}

/** Whether a file in a folder is a segment of the history, which its name decides: docs/spec/lineage.md, "Inputs". */
export function isSegmentName(path: string): boolean {
  return /(^|\/)[0-9]+(-[0-9]+)?\.car$/i.test(path) && !/(^|\/)__MACOSX\//.test(path);
}

/** Whether a file in a folder is a checkpoint, which its name decides: docs/spec/lineage.md, "Inputs". */
export function isCheckpointName(path: string): boolean {
  const parts = path.split("/");
  return /\.ckpt$/i.test(path) && !parts.at(-1)!.startsWith("._") && !parts.includes("__MACOSX");
}

function leftOut(name: string): LeftOutSource {
  return { kind: "left-out", name, start: new Uint8Array() };
}

/** What a file is that was given by itself. */
async function judged(name: string, path: string, part: Blob | Uint8Array<ArrayBuffer>, kindOf: KindOf): Promise<Source> {
  if (isCheckpointName(name)) return checkpoint(name, path, part);
  const start = isBlob(part) ? new Uint8Array(await read(part.slice(0, startSize), path)) : part.slice(0, startSize);
  const about = await kindOf(name, start);
  if (about.use !== "read") return unread(name, path, start, about, part);
  if (about.kind === "checkpoint") return checkpoint(name, path, part);
  await noCheckpointIn(path, start, kindOf);
  return blobCAR(path, isBlob(part) ? part : new Blob([part]));
}

/** What a stream is, which is read no further than that needs. */
async function streamed(name: string, path: string, bytes: AsyncIterable<Uint8Array>, kindOf: KindOf): Promise<Source> {
  const all = pieces(bytes);
  try {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for (let next; size < startSize && !(next = await all.next()).done; size += next.value.length) parts.push(next.value);
    const whole = async function* (): Pieces {
      yield* parts;
      yield* all;
    };
    const start = concatenate(parts, size).subarray(0, startSize);
    const about = await kindOf(name, start);
    if (about.use === "read") {
      if (about.kind !== "checkpoint") {
        await noCheckpointIn(path, start, kindOf);
        return { kind: "car", path, size: undefined, chunks: whole };
      }
      return checkpoint(name, path, await collect(path, whole()));
    }
    const part = about.role ? await collect(path, whole()) : undefined;
    await all.return(undefined);
    return unread(name, path, start, about, part);
  } catch (error) {
    await all.return(undefined);
    throw error;
  }
}

/** Refuses a checkpoint that is named as a CAR. */
export async function noCheckpointIn(path: string, start: Uint8Array, kindOf: KindOf): Promise<void> {
  if ((await kindOf("", start)).kind !== "checkpoint") return;
  throw new VerifyError("malformed-car", "this is a checkpoint, and no CAR", { path, hint: "give it as a file whose name ends in .ckpt" });
}

/** What is no part of a history, or an error for what may have one in it. */
export function unread(name: string, path: string, start: Uint8Array, about: Kind, part?: Blob | Uint8Array<ArrayBuffer>): LeftOutSource {
  if (about.use === "refuse") throw new VerifyError("nothing-to-verify", `this is ${about.what}`, { path, hint: about.next });
  return { kind: "left-out", name, path, start, about, ...(part && about.role && { part }) };
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

async function source(item: Exclude<Item, URL | InFolder>, kindOf: KindOf): Promise<Source> {
  if (isBytes(item) || isBuffer(item)) item = new Blob([item]);
  if (isBlob(item)) {
    const name = "name" in item && typeof item.name === "string" ? item.name : "";
    return judged(name, name || "the input", item, kindOf);
  }
  if (typeof item === "string") throw new TypeError(`cannot verify a string, ${quoted(item)}: for an address give new URL(…), for bytes { name, bytes }`);
  const { name, bytes } = Object(item) as Partial<Named>;
  if (typeof name !== "string" || bytes === undefined) {
    throw new TypeError(`cannot verify ${described(item)}: give a File, Blob, FileList, URL, Uint8Array, ArrayBuffer, { name, bytes }, or an iterable of these`);
  }
  if (isBlob(bytes) || isBytes(bytes) || isBuffer(bytes)) {
    return judged(name, name, isBuffer(bytes) ? new Uint8Array(bytes) : (bytes as Blob | Uint8Array<ArrayBuffer>), kindOf);
  }
  if (typeof bytes === "string" || !isIterable(bytes)) {
    throw new TypeError(`the bytes of ${quoted(name)} are ${described(bytes)}: give a Blob, Uint8Array, ArrayBuffer, or a stream of Uint8Array`);
  }
  return streamed(name, name, bytes, kindOf);
}

const quoted = (text: string) => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);

function described(value: unknown): string {
  if (typeof value === "string") return `a string, ${quoted(value)}`;
  return value instanceof Object ? `an object of class ${value.constructor?.name ?? classOf(value)}` : String(value);
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
  let spare: Spare | undefined;
  return {
    kind: "car",
    path,
    size: blob.size,
    ...(blobsForWorkers && { blob }),
    async *chunks(from = 0) {
      const { contents, Spare } = await import("./blob.ts");
      yield* contents(from > 0 ? blob.slice(from) : blob, path, (spare ??= new Spare(maxSpare)));
    },
    reuse: (buffer) => spare?.put(buffer),
  };
}

async function fetched(url: URL, kindOf: KindOf, fetch: Fetch = globalThis.fetch, signal?: AbortSignal): Promise<Source> {
  const path = url.href;
  let response: Response;
  try {
    response = await fetch(url, { ...(signal && { signal }), credentials: "same-origin" });
  } catch (cause) {
    signal?.throwIfAborted();
    throw notFetched(path, cause);
  }
  if (!isWhole(response) || !response.body) {
    const temporary = [408, 425, 429].includes(response.status) || response.status >= 500;
    const hint = temporary ? "try again later" : "check the address";
    throw new VerifyError("unreadable", `could not be fetched: HTTP status ${response.status}`, { path, hint, temporary });
  }
  const body = stream(response.body, path, signal);
  return streamed(fileName(url), path, body, kindOf);
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
async function* pieces(bytes: AsyncIterable<Uint8Array>): Pieces {
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

async function collect(path: string, bytes: AsyncIterable<Uint8Array<ArrayBuffer>>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const piece of bytes) {
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
  const { readBlobs } = await import("./blob.ts");
  return readBlobs(batch, size);
}

async function read(blob: Blob, path: string): Promise<ArrayBuffer> {
  try {
    return await blob.arrayBuffer();
  } catch (cause) {
    throw changed(path, cause);
  }
}
