// Turns what was dropped, pasted or chosen into one list of files, each under
// the name that igor-verify would give it.

import { VerifyError } from "../verify/error.ts";
import { isCheckpointName, isPartName, type InFolder } from "../verify/input.ts";
import { isBesideName } from "../verify/names.ts";
import { archiveKind, type Entry } from "./archive/archive.ts";
import { unpackInWorker } from "./archive/client.ts";
import { besideCAR, besideName } from "./archive/names.ts";
import { receiptsName } from "./payments.ts";
import { Slices } from "./slices.ts";

/** A folder with more files than this is for the command line. */
const maxFiles = 1 << 20;

/** So many files of a folder are asked for at once: one by one, each would wait for the browser. */
const atOnce = 256;

/** Of more files than this the size is not asked for: a browser looks each of them up on the disk, while the page waits. */
const maxSized = 100;

/** A file, with its path inside the folder that was given. */
export interface Found {
  name: string;
  /** Of a file in a folder that is no part of the history, only the name is looked at. */
  file?: Blob | undefined;
  /** The folder that it was found in, or "" for a file that was given by itself. */
  folder: string;
  /** How many checkpoints that folder has, or were given by themselves. */
  of?: number | undefined;
}

/** Whether a file has the receipts of what an agent paid on chains. They are no part of a history, and shown with it. */
const isReceipts = (name: string) => name === receiptsName || name.endsWith(`/${receiptsName}`);

/** Takes what was dropped or pasted. Only within the event can it be taken. */
export function fromTransfer(transfer: DataTransfer): () => AsyncGenerator<Found> {
  const entries: FileSystemEntry[] = [];
  const files: File[] = [];
  for (const item of transfer.items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry?.();
    if (entry) entries.push(entry);
    else {
      const file = item.getAsFile();
      if (file) files.push(file);
    }
  }
  const all = [...files, ...entries];
  const of = all.every(({ name }) => isCheckpointName(name)) ? all.length : undefined;
  return async function* () {
    for (const file of files) yield { name: file.name, file, folder: "", of };
    for (const entry of entries) {
      if (entry.isDirectory) yield* walk(entry as FileSystemDirectoryEntry);
      else {
        const file = await fileOf(entry);
        yield { name: file.name, file, folder: "", of };
      }
    }
  };
}

/** How large all is that was dropped or pasted, where that is known before it is read. */
export function transferSize(transfer: DataTransfer): number | undefined {
  const folder = [...transfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory);
  return folder ? undefined : filesSize(transfer.files);
}

/** How large all is that was chosen, where that is soon known. Of an archive only the packed size is known, which says little. */
export function filesSize(list: FileList): number | undefined {
  if (list.length > maxSized || list[0]?.webkitRelativePath) return undefined; // a folder is measured by its files
  let total = 0;
  for (const { name, size } of list) {
    if (/\.(zip|tar|gz|tgz)$/i.test(name)) return undefined;
    total += size;
  }
  return total;
}

/** What was dropped or pasted, in a few words. */
export function transferLabel(transfer: DataTransfer): string {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  const [first] = entries;
  return entries.length === 1 && first?.isDirectory ? `the folder ${first.name}` : filesLabel(transfer.files);
}

/** What was chosen, in a few words. */
export function filesLabel(files: FileList): string {
  const [first] = files;
  if (!first) return "";
  const folder = first.webkitRelativePath.split("/")[0];
  if (folder) return `the folder ${folder}`;
  return files.length === 1 ? first.name : `${files.length.toLocaleString("en")} files`;
}

/** Takes what was chosen. */
export function fromFiles(list: Iterable<File>): () => AsyncGenerator<Found> {
  const files = [...list];
  return async function* () {
    let checkpoints = 0;
    await new Slices().each(files.length, (i) => {
      const { webkitRelativePath: path, name } = files[i]!;
      if (path ? isPartName(path) : isCheckpointName(name)) checkpoints++;
    });
    for (const file of files) {
      const slash = file.webkitRelativePath.indexOf("/");
      const of = slash >= 0 || checkpoints === files.length ? checkpoints : undefined;
      if (slash < 0) {
        yield { name: file.name, file, folder: "", of };
        continue;
      }
      const [folder, name] = [file.webkitRelativePath.slice(0, slash), file.webkitRelativePath.slice(slash + 1)];
      yield { name, file: isPartName(name) || isReceipts(name) || isBesideName(name) ? file : undefined, folder, of };
    }
  };
}

function fileOf(entry: FileSystemEntry): Promise<File> {
  return new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)).catch((cause: unknown) => {
    throw cannotRead(entry, cause);
  });
}

function cannotRead({ fullPath }: FileSystemEntry, cause: unknown): VerifyError {
  return new VerifyError("unreadable", "cannot be read", { path: fullPath, hint: "choose it again", cause, temporary: true });
}

/** Lists a folder, then opens its checkpoints and segments, what is looked at beside them, and none of its other files. */
async function* walk(top: FileSystemDirectoryEntry): AsyncGenerator<Found> {
  const checkpoints: FileSystemEntry[] = [];
  const others: string[] = [];
  const beside: FileSystemEntry[] = [];
  const inside = (entry: FileSystemEntry) => entry.fullPath.slice(top.fullPath.length + 1);
  for (let folders = [top]; folders.length > 0; ) {
    const some = folders.splice(0, atOnce);
    for (const entry of (await Promise.all(some.map(list))).flat()) {
      if (entry.isDirectory) folders.push(entry as FileSystemDirectoryEntry);
      else if (isPartName(inside(entry))) checkpoints.push(entry);
      else if (isReceipts(inside(entry)) || isBesideName(inside(entry))) beside.push(entry);
      else others.push(inside(entry));
      if (folders.length + checkpoints.length + others.length > maxFiles) throw tooMany(top.name);
    }
  }
  for (const name of others) yield { name, folder: top.name };
  for (const entry of beside) yield { name: inside(entry), file: await fileOf(entry), folder: top.name };
  for (let at = 0; at < checkpoints.length; at += atOnce) {
    const entries = checkpoints.slice(at, at + atOnce);
    const files = await Promise.all(entries.map(fileOf));
    for (let i = 0; i < files.length; i++) yield { name: inside(entries[i]!), file: files[i], folder: top.name, of: checkpoints.length };
  }
  // Of a folder with nothing in it at all, nothing was told.
  if (checkpoints.length === 0) throw noCheckpoint(top.name);
}

async function list(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const entries: FileSystemEntry[] = [];
  try {
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return entries;
      for (const entry of some) entries.push(entry);
      if (entries.length > maxFiles) throw tooMany(folder.name);
    }
  } catch (cause) {
    throw cause instanceof VerifyError ? cause : cannotRead(folder, cause);
  }
}

function tooMany(path: string): VerifyError {
  return new VerifyError("too-many", `more than ${maxFiles} files`, { path, hint: "use igor-verify, or save it as one CAR" });
}

function noCheckpoint(path: string): VerifyError {
  return new VerifyError("nothing-to-verify", "no .ckpt file in it", {
    path,
    hint: "give what has the checkpoints, or the .car file itself",
  });
}

/** What is to be verified: a file that was given by itself, or one of a folder or an archive. */
export type Item = { readonly name: string; readonly bytes: Blob | Uint8Array<ArrayBuffer> } | InFolder;

/**
 * Returns what is to be verified, with archives unpacked. Of a folder or an archive only the files that
 * end in .ckpt and segments count, or, in an archive without one, those that end in .car; of the others the names are given.
 */
export async function* items(found: AsyncIterable<Found>, signal: AbortSignal, onTotal?: (files: number) => void, onReceipts?: (file: Blob) => void, onLoose?: (file: Blob) => void): AsyncGenerator<Item> {
  const any = new Map<string, boolean>(); // whether a folder has something to verify
  for await (const { name, file, folder: inFolder, of } of found) {
    signal.throwIfAborted();
    if (of !== undefined) onTotal?.(of);
    if (inFolder) any.set(inFolder, any.get(inFolder) || isPartName(name));
    if (inFolder && isReceipts(name)) {
      if (file) onReceipts?.(file);
      yield { name, inFolder: true };
      continue;
    }
    const kind = file && !inFolder ? await archiveKind(name, file) : undefined;
    if (kind) yield* unpacked(unpackInWorker(kind, name, file!, signal), name);
    else if (inFolder) yield { name, inFolder: true, bytes: file };
    else {
      onLoose?.(file!);
      yield { name, bytes: file! };
    }
  }
  for (const [folder, has] of any) if (!has) throw noCheckpoint(folder);
}

async function* unpacked(entries: AsyncIterable<Entry>, path: string): AsyncGenerator<Item> {
  const cars: { name: string; bytes: Blob | Uint8Array<ArrayBuffer> }[] = [];
  const beside: typeof cars = [];
  let checkpoints = false;
  for await (const { name, bytes } of entries) {
    if (bytes && isPartName(name)) {
      checkpoints = true;
      yield { name, inFolder: true, bytes };
    } else if (bytes && besideName(name)) yield { name: besideName(name)!, inFolder: true, bytes };
    else if (bytes && besideCAR.test(name)) beside.push({ name, bytes });
    else if (bytes && !checkpoints) cars.push({ name, bytes: bytes instanceof Blob ? bytes : new Blob([bytes]) });
    else yield { name, inFolder: true };
  }
  if (!checkpoints && cars.length === 0) throw noCheckpoint(path);
  if (!checkpoints) yield* [...cars, ...beside];
  else for (const { name } of [...cars, ...beside]) yield { name, inFolder: true };
}
