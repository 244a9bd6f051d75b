// Unpacks archives, whatever their bytes are. What programs in common use unpack
// differently is refused: a verdict has to be of the files that the visitor has.

import { VerifyError } from "../../verify/error.ts";
import { pieces, type Entry } from "./entry.ts";
import { gunzip } from "./inflate.ts";
import { Limits } from "./limits.ts";
import { untar } from "./tar.ts";
import { unzip } from "./zip.ts";

export type { Entry } from "./entry.ts";

/** What can be unpacked here, and what is known well enough to be named. */
export type Kind = "zip" | "tar" | "gzip" | "7z" | "xz" | "bzip2" | "Zstandard" | "RAR" | "lzip" | "compress" | "Windows cabinet";

const magics: readonly [Kind, string][] = [
  ["zip", "PK\x03\x04"], ["zip", "PK\x05\x06"], ["zip", "PK\x07\x08"], ["gzip", "\x1f\x8b"], ["7z", "7z\xbc\xaf\x27\x1c"],
  ["xz", "\xfd7zXZ\0"], ["bzip2", "BZh"], ["Zstandard", "\x28\xb5\x2f\xfd"], ["RAR", "Rar!\x1a\x07"], ["lzip", "LZIP"],
  ["compress", "\x1f\x9d"], ["Windows cabinet", "MSCF"],
];

const extensions: readonly [Kind, RegExp][] = [
  ["zip", /\.zip$/i], ["gzip", /\.(gz|tgz)$/i], ["tar", /\.tar$/i], ["7z", /\.7z$/i], ["xz", /\.t?xz$/i], ["bzip2", /\.t?bz2?$/i],
  ["Zstandard", /\.t?zst$/i], ["RAR", /\.rar$/i],
];

/** So much of a file says what it is. */
const startSize = 262;

/** Tells an archive by how it begins, or else by its name. Undefined is none, as is what is named as a checkpoint. */
export async function archiveKind(name: string, blob: Blob): Promise<Kind | undefined> {
  if (/\.(ckpt|car)$/i.test(name)) return undefined;
  let start: string;
  try {
    start = String.fromCharCode(...new Uint8Array(await blob.slice(0, startSize).arrayBuffer()));
  } catch {
    return undefined; // whoever reads it will say why it cannot be read
  }
  const known = magics.find(([, magic]) => start.startsWith(magic));
  if (known) return known[0];
  if (start.slice(257, 262) === "ustar") return "tar";
  return extensions.find(([, extension]) => extension.test(name))?.[0];
}

/** Returns the archive's files, in any order: those that count with their bytes, of the others the names. */
export async function* unpack(kind: Kind, path: string, blob: Blob, signal: AbortSignal): AsyncGenerator<Entry> {
  const limits = new Limits(path);
  if (kind === "zip") yield* unzip(blob, limits, signal);
  else if (kind === "tar") yield* untar(counted(pieces(blob, limits, signal), limits), limits);
  else if (kind === "gzip") yield* ungzip(path, blob, limits, signal);
  else throw limits.unsupported(`it is packed by ${kind}, which this page does not know`);
}

async function* counted(input: AsyncIterable<Uint8Array>, limits: Limits): AsyncGenerator<Uint8Array> {
  for await (const piece of input) {
    limits.bytes(piece.length);
    yield piece;
  }
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

/** A tar archive, or one file. */
async function* ungzip(path: string, blob: Blob, limits: Limits, signal: AbortSignal): AsyncGenerator<Entry> {
  const input = gunzip(blob, limits, signal);
  let first = new Uint8Array();
  while (first.length < startSize) {
    const { value, done } = await input.next();
    if (done) break;
    first = joined(first, value);
  }
  if (first.length === 0) throw limits.unsupported("it is empty", "ask for the file again");
  const all = (async function* () {
    yield first;
    yield* input;
  })();
  const start = String.fromCharCode(...first.subarray(0, startSize));
  const inner = path.slice(path.lastIndexOf("/") + 1).replace(/\.gz$/i, "");
  // What is named as a checkpoint is one to gunzip, whatever is in it, and so it is here.
  const isCheckpoint = /\.ckpt$/i.test(inner);
  const isTar = start.slice(257, 262) === "ustar" || /\.(tgz|tar\.gz|tar)$/i.test(path);
  if (isTar && /\.car$/i.test(inner)) throw limits.ambiguous("it is a tar archive, and named as a history");
  if (isTar && !isCheckpoint) return yield* untar(all, limits);
  const single = isCheckpoint ? inner : start.startsWith("\x3a\xa2\x65") ? (/\.car$/i.test(inner) ? inner : `${inner}.car`) : undefined;
  if (!single) throw limits.unsupported("what is packed in it is no tar archive and no history");
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const piece of all) {
    size += piece.length;
    limits.checkpoint(single, size);
    parts.push(new Uint8Array(piece));
  }
  yield { name: single, bytes: new Blob(parts) };
}

/** An error as a worker can hand it on. */
export type Failure = { code: VerifyError["code"]; problem: string; path?: string | undefined; hint?: string | undefined };
