// Files and folders by their paths, in Node, as igor-verify reads them
// (verifier/history): the same files, under the same names.

import { open, opendir, stat, type FileHandle } from "node:fs/promises";
import { constants } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { inFolder } from "./beside.ts";
import { VerifyError } from "./error.ts";
import {
  isCheckpointName, isSegmentName, maxCheckpointSize, noCheckpoint, noCheckpointIn, startSize, tooLarge, unread, type CARSource, type CheckpointSource, type KindOf, type Source,
} from "./input.ts";
import { isBesideName } from "./names.ts";
import { chunkSize, type Pieces } from "./pieces.ts";

/** So many files are opened, and the small ones among them read, at the same time. */
const ahead = 32;

/** Of what lies beside a history so much is read: more than the longest of it has. */
const maxBeside = 65536 * 313 + 1;

/** Files above this size are read one after the other. */
const small = 1 << 20;

const slash = Buffer.from("/");

/** What was found in a folder: its path, and its name below the folder that was given. Neither needs to be UTF-8. */
interface Found {
  readonly path: Buffer;
  readonly name: Buffer;
  readonly segment?: boolean;
}

/** An open file, of which a small one is read already. */
interface Opened extends Found {
  readonly handle?: FileHandle;
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

export async function* fromPath(given: string | URL, kindOf: KindOf, signal?: AbortSignal): AsyncGenerator<Source> {
  const path = typeof given === "string" ? given : fileURLToPath(given);
  if (path === "") throw new VerifyError("unreadable", "a path is empty");
  const info = await stat(path).catch(failed(path));
  if (info.isDirectory()) {
    yield* folder(path, signal);
    if (basename(resolve(path)) === "history") yield* beside(dirname(resolve(path)), "", "all"); // an agent's folder
  } else if (!info.isFile()) throw irregular(path);
  else {
    const source = await file(path, info.size, kindOf);
    yield source;
    if (/\.car$/i.test(path)) yield* beside(dirname(path), basename(path).slice(0, -".car".length), "all");
    yield* beside(dirname(path), "", "files");
  }
}

/** What lies beside a history, where it is: of a name's own, or by the names that it has in a folder. */
async function* beside(folder: string, name: string, which: "all" | "files"): AsyncGenerator<Source> {
  for (const [role, called] of Object.entries(inFolder)) {
    if (role === "handovers" && which !== "all") continue;
    const own = role === "proof" || role === "word" ? called.replace("head", "") : `.${called}`;
    const path = join(folder, name ? name + own : called);
    const info = await stat(path).catch(() => undefined);
    if (!info?.isFile()) continue;
    const about = { kind: "", use: "leave-out", what: "", next: "", role } as const;
    yield { kind: "left-out", name: basename(path), start: new Uint8Array(), part: await some(path), found: true, about };
  }
}

/** The bytes of a small file; of a longer one enough to show that it is too long. */
async function some(path: string | Buffer): Promise<Uint8Array<ArrayBuffer>> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(failed(path));
  try {
    const bytes = new Uint8Array(Math.min((await handle.stat()).size, maxBeside));
    let size = 0;
    for (let read = -1; read !== 0 && size < bytes.length; size += read) {
      read = (await handle.read(bytes, size, bytes.length - size, null).catch(failed(path))).bytesRead;
    }
    return bytes.subarray(0, size);
  } finally {
    await handle.close();
  }
}

/** A file by itself, which is what its name and its beginning say. */
async function file(path: string, size: number, kindOf: KindOf): Promise<Source> {
  const name = basename(path);
  const start = await beginning(path);
  const about = await kindOf(name, start);
  if (about.use !== "read") return unread(name, path, start, about, about.role ? await some(path) : undefined);
  if (about.kind !== "checkpoint") {
    await noCheckpointIn(path, start, kindOf);
    return carFile(path, size);
  }
  return checkpoint(await openFile({ path: Buffer.from(path), name: Buffer.from(name) }));
}

async function beginning(path: string): Promise<Uint8Array> {
  const handle = await open(path).catch(failed(path));
  try {
    const start = new Uint8Array(startSize);
    let size = 0;
    for (let read = -1; read !== 0 && size < startSize; size += read) {
      read = (await handle.read(start, size, startSize - size, null).catch(failed(path))).bytesRead;
    }
    return start.subarray(0, size);
  } finally {
    await handle.close();
  }
}

async function* folder(path: string, signal?: AbortSignal): AsyncGenerator<Source> {
  let found = false;
  const opened: Promise<Opened>[] = [];
  try {
    for await (const entry of entries(Buffer.from(path))) {
      signal?.throwIfAborted();
      if ("leftOut" in entry) {
        const { leftOut, path } = entry;
        const part = path && isBesideName(leftOut.toString()) ? { part: await some(path) } : {};
        yield { kind: "left-out", ...named(leftOut), start: new Uint8Array(), ...part };
        continue;
      }
      found = true;
      if (entry.segment) {
        yield carFile(entry.path, (await stat(entry.path).catch(failed(entry.path))).size);
        continue;
      }
      const opening = openFile(entry);
      opening.catch(() => {}); // it is awaited when it is its turn
      opened.push(opening);
      if (opened.length === ahead) yield await checkpoint(await opened.shift()!);
    }
    while (opened.length > 0) yield await checkpoint(await opened.shift()!);
  } finally {
    for (const result of await Promise.allSettled(opened)) {
      if (result.status === "fulfilled") await result.value.handle?.close();
    }
  }
  if (!found) throw noCheckpoint(path);
}

/** The checkpoints and segments in a folder and below it, and the names of all else: verifier/history, Walk. */
async function* entries(root: Buffer): AsyncGenerator<Found | { leftOut: Buffer; path?: Buffer | undefined }> {
  // A stack of folders, by their names below the root: recursion could go as deep as a path is long.
  for (const todo = [Buffer.alloc(0)]; todo.length > 0; ) {
    const below = todo.pop()!;
    const prefix = below.length > 0 ? Buffer.concat([below, slash]) : below;
    const path = below.length > 0 ? Buffer.concat([root, slash, below]) : root;
    for await (const entry of await opendir(path, { encoding: "buffer" as "utf8", bufferSize: 512 }).catch(failed(path))) {
      const entryName = entry.name as unknown as Buffer;
      const found = { path: Buffer.concat([path, slash, entryName]), name: Buffer.concat([prefix, entryName]) };
      if (entry.isDirectory()) {
        todo.push(found.name);
        continue;
      }
      const segment = isSegmentName(found.name.toString("latin1"));
      const isPart = segment || isCheckpointName(found.name.toString("latin1"));
      if (!entry.isFile()) {
        const info = await stat(found.path).catch((error: unknown) => (isPart ? failed(found.path)(error) : undefined));
        if (info?.isDirectory()) {
          yield { leftOut: Buffer.concat([found.name, slash]) };
          continue;
        }
        if (isPart && !info!.isFile()) throw irregular(found.path);
        if (!info?.isFile()) {
          yield { leftOut: found.name };
          continue;
        }
      }
      yield isPart ? { ...found, segment } : { leftOut: found.name, path: found.path };
    }
  }
}

/** A name as text, and as it is where that is no UTF-8. */
function named(name: Buffer): { name: string; rawName?: Uint8Array } {
  const text = name.toString();
  return Buffer.from(text).equals(name) ? { name: text } : { name: text, rawName: name };
}

async function openFile(found: Found): Promise<Opened> {
  // Should the file have become a pipe meanwhile, this does not wait for its writer.
  const handle = await open(found.path, constants.O_RDONLY | constants.O_NONBLOCK).catch(failed(found.path));
  try {
    if ((await handle.stat()).size > small) return { ...found, handle };
    const bytes = await readAll(handle, found.path);
    await handle.close();
    return { ...found, bytes };
  } catch (error) {
    await handle.close();
    throw error instanceof VerifyError ? error : failed(found.path)(error);
  }
}

async function checkpoint({ path, name, handle, bytes }: Opened): Promise<CheckpointSource> {
  if (!bytes) {
    try {
      bytes = await readAll(handle!, path);
    } finally {
      await handle!.close();
    }
  }
  return { kind: "checkpoint", ...named(name), path: path.toString(), part: bytes, size: bytes.length };
}

/** Reads a file to its end: only a read of nothing is that, and not one that gave less than asked for. */
async function readAll(handle: FileHandle, path: Buffer): Promise<Uint8Array<ArrayBuffer>> {
  let buffer = new Uint8Array((await handle.stat()).size + 1);
  for (let size = 0; ; ) {
    const { bytesRead } = await handle.read(buffer, size, buffer.length - size, null).catch(failed(path));
    if (bytesRead === 0) return buffer.subarray(0, size);
    size += bytesRead;
    if (size > maxCheckpointSize) throw tooLarge(path.toString());
    if (size < buffer.length) continue;
    const larger = new Uint8Array(Math.min(2 * size, maxCheckpointSize + 1));
    larger.set(buffer);
    buffer = larger;
  }
}

function carFile(path: string | Buffer, size: number): CARSource {
  async function* chunks(): Pieces {
    const handle = await open(path).catch(failed(path));
    try {
      for (let want: number | undefined; ; ) {
        const chunk = new Uint8Array(want ?? chunkSize);
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, null).catch(failed(path));
        if (bytesRead === 0) return;
        want = yield chunk.subarray(0, bytesRead);
      }
    } finally {
      await handle.close();
    }
  }
  return { kind: "car", path: path.toString(), size, chunks };
}

function irregular(path: string | Buffer): VerifyError {
  return new VerifyError("unreadable", "not a regular file", { path: path.toString() });
}

/** Says why a file cannot be read. */
function failed(path: string | Buffer): (cause: unknown) => never {
  return (cause) => {
    const { code, message } = cause as NodeJS.ErrnoException;
    const about = { path: path.toString(), cause };
    if (code === "ENOENT") throw new VerifyError("unreadable", "no such file or folder", { ...about, hint: "check the path" });
    if (code === "EACCES" || code === "EPERM") throw new VerifyError("unreadable", "permission denied", { ...about, hint: "check who may read it" });
    throw new VerifyError("unreadable", `cannot be read: ${message}`, about);
  };
}
