// Files and folders by their paths, in Node, as igor-verify reads them
// (verifier/history): the same files, under the same names.

import { open, opendir, stat, type FileHandle } from "node:fs/promises";
import { constants } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { VerifyError } from "./error.ts";
import { chunkSize, isCARName, maxCheckpointSize, noCheckpoint, tooLarge, type CARSource, type CheckpointSource, type Source } from "./input.ts";

/** So many files are opened, and the small ones among them read, at the same time. */
const ahead = 32;

/** Files above this size are read one after the other. */
const small = 1 << 20;

const slash = Buffer.from("/");

/** A file that was found: its path, and its name below the folder that was given. Neither needs to be UTF-8. */
interface Found {
  readonly path: Buffer;
  readonly name: Buffer;
}

/** An open file, of which a small one is read already. */
interface Opened extends Found {
  readonly handle?: FileHandle;
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

export async function* fromPath(given: string | URL, signal?: AbortSignal): AsyncGenerator<Source> {
  const path = typeof given === "string" ? given : fileURLToPath(given);
  if (path === "") throw new VerifyError("unreadable", "a path is empty");
  const info = await stat(path).catch(failed(path));
  if (info.isDirectory()) yield* folder(path, signal);
  else if (!info.isFile()) throw irregular(path);
  else if (isCARName(path)) yield carFile(path, info.size);
  else yield await source(await openFile({ path: Buffer.from(path), name: Buffer.from(basename(path)) }));
}

async function* folder(path: string, signal?: AbortSignal): AsyncGenerator<Source> {
  let found = false;
  const opened: Promise<Opened>[] = [];
  try {
    for await (const file of checkpoints(Buffer.from(path))) {
      signal?.throwIfAborted();
      found = true;
      const opening = openFile(file);
      opening.catch(() => {}); // it is awaited when it is its turn
      opened.push(opening);
      if (opened.length === ahead) yield await source(await opened.shift()!);
    }
    while (opened.length > 0) yield await source(await opened.shift()!);
  } finally {
    for (const result of await Promise.allSettled(opened)) {
      if (result.status === "fulfilled") await result.value.handle?.close();
    }
  }
  if (!found) throw noCheckpoint(path);
}

/** The checkpoints in a folder and below it. */
async function* checkpoints(root: Buffer): AsyncGenerator<Found> {
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
      if (!entryName.toString("latin1").endsWith(".ckpt")) continue;
      if (!entry.isFile() && !(await stat(found.path).catch(failed(found.path))).isFile()) throw irregular(found.path);
      yield found;
    }
  }
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

async function source({ path, name, handle, bytes }: Opened): Promise<CheckpointSource> {
  if (!bytes) {
    try {
      bytes = await readAll(handle!, path);
    } finally {
      await handle!.close();
    }
  }
  const text = name.toString();
  const isText = Buffer.from(text).equals(name);
  return { kind: "checkpoint", name: text, ...(!isText && { rawName: name }), path: path.toString(), part: bytes, size: bytes.length };
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

function carFile(path: string, size: number): CARSource {
  async function* chunks() {
    const handle = await open(path).catch(failed(path));
    try {
      for (;;) {
        const chunk = new Uint8Array(chunkSize);
        const { bytesRead } = await handle.read(chunk, 0, chunk.length, null).catch(failed(path));
        if (bytesRead === 0) return;
        yield chunk.subarray(0, bytesRead);
      }
    } finally {
      await handle.close();
    }
  }
  return { kind: "car", path, size, chunks };
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
