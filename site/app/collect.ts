// Turns what was dropped, pasted or chosen into one list of files, each under
// the name that igor-verify would give it.

import { VerifyError } from "../verify/error.ts";
import type { Named } from "../verify/input.ts";
import { archiveKind, unpack } from "./archive.ts";

/** A folder with more files than this is for the command line. */
const maxFiles = 1 << 20;

/** A file, with its path inside the folder that was given. */
export interface Found {
  name: string;
  file: Blob;
  /** The folder that it was found in, or "" for a file that was given by itself. */
  folder: string;
}

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
  return async function* () {
    for (const file of files) yield { name: file.name, file, folder: "" };
    for (const entry of entries) yield* walk(entry);
  };
}

/** How large all is that was dropped or pasted, where that is known before it is read. */
export function transferSize(transfer: DataTransfer): number | undefined {
  const folder = [...transfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory);
  return folder ? undefined : filesSize(transfer.files);
}

/** How large all is that was chosen. Of an archive only the packed size is known, which says little. */
export function filesSize(list: Iterable<File>): number | undefined {
  let total = 0;
  for (const { name, size, webkitRelativePath } of list) {
    if (webkitRelativePath && !name.endsWith(".ckpt")) continue; // as below
    if (/\.(zip|tar|gz|tgz)$/i.test(name)) return undefined;
    total += size;
  }
  return total;
}

/** Takes what was chosen. */
export function fromFiles(list: Iterable<File>): () => AsyncGenerator<Found> {
  const files = [...list];
  return async function* () {
    for (const file of files) {
      const slash = file.webkitRelativePath.indexOf("/");
      if (slash < 0) yield { name: file.name, file, folder: "" };
      else yield { name: file.webkitRelativePath.slice(slash + 1), file, folder: file.webkitRelativePath.slice(0, slash) };
    }
  };
}

async function* walk(top: FileSystemEntry): AsyncGenerator<Found> {
  const todo = [top];
  let files = 0;
  for (let entry; (entry = todo.pop()); ) {
    try {
      if (entry.isDirectory) {
        const reader = (entry as FileSystemDirectoryEntry).createReader();
        for (;;) {
          const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
          if (some.length === 0) break;
          todo.push(...some);
          if (todo.length + files > maxFiles) throw tooMany(top.name);
        }
        continue;
      }
      const inside = entry.fullPath.slice(top.fullPath.length + 1);
      // A folder's other files are not opened at all.
      if (entry !== top && !inside.endsWith(".ckpt")) continue;
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      files++;
      yield entry === top ? { name: file.name, file, folder: "" } : { name: inside, file, folder: top.name };
    } catch (cause) {
      if (cause instanceof VerifyError) throw cause;
      throw new VerifyError("unreadable", "cannot be read", { path: entry.fullPath, hint: "choose it again", cause });
    }
  }
  if (files === 0) throw noCheckpoint(top.name);
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

/**
 * Returns checkpoints and CARs, with archives unpacked. Of a folder or an archive only the
 * files that end in .ckpt count, or, in an archive without one, those that end in .car.
 */
export async function* items(found: AsyncIterable<Found>, signal: AbortSignal): AsyncGenerator<Named & { bytes: Blob }> {
  let folder = "";
  let any = false;
  for await (const { name, file, folder: inFolder } of found) {
    signal.throwIfAborted();
    if (inFolder) {
      folder = inFolder;
      if (!name.endsWith(".ckpt")) continue;
      any = true;
      yield { name, bytes: file };
      continue;
    }
    any = true;
    const kind = await archiveKind(name, file);
    if (kind === "car" && !name.endsWith(".car")) yield { name: `${name || "history"}.car`, bytes: file };
    else if (kind === undefined || kind === "car") yield { name, bytes: file };
    else {
      let count = 0;
      for await (const entry of unpack(kind, name, file, signal)) {
        count++;
        yield entry;
      }
      if (count === 0) throw noCheckpoint(name);
    }
  }
  if (!any && folder) throw noCheckpoint(folder);
}
