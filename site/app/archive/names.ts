// The names in an archive: which files count, and which names programs would
// take for different ones.

import { isBesideName } from "../../verify/names.ts";
import type { Limits } from "./limits.ts";

const maxName = 4096;

/** What file systems take of one part of a name, in bytes. */
const maxPart = 255;

/** What macOS leaves beside files that it packs or copies: no part of what was packed. */
export function isLeftover(path: string): boolean {
  const parts = path.split("/");
  const last = parts.at(-1)!;
  return last.startsWith("._") || last === ".DS_Store" || parts.includes("__MACOSX");
}

/** Whether a file is a checkpoint or a CAR by its name, or lies beside a history. */
export function isWanted(path: string): boolean {
  return (/\.(ckpt|car)$/i.test(path) || besideName(path) !== undefined || besideCAR.test(path)) && !isLeftover(path);
}

/** What lies beside a CAR, by how its name ends. */
export const besideCAR = /\.(handovers|tlog-proof|monitor|succession)$/i;

/** The name of what lies beside checkpoints: in the archive itself, or in a folder that all of it is in. */
export function besideName(path: string): string | undefined {
  const name = path.replace(/^[^/]+\//, "");
  return isBesideName(name) ? name : undefined;
}

/** What some systems cut off the end of a name, or do not show. */
const shaky = /[\s.:\0-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]+$/u;

/** The names of one archive. Whatever could be another file elsewhere is refused. */
export class Names {
  readonly #limits: Limits;
  /** Folders, each as it is compared. */
  readonly #folders = new Set<string>();
  readonly #files = new Set<string>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Takes the next name, and returns it as a path in the archive's folder. */
  add(name: string, kind: "file" | "folder" | "link"): string {
    const parts = name.split("/").filter((part, i) => part !== "." && (part !== "" || i === 0));
    const path = parts.join("/");
    this.#check(name, path);
    // Info-ZIP gives a file without a name that of the one before it.
    if (path === "" && kind !== "folder") throw this.#limits.ambiguous("a file in it has no name");
    if (kind === "folder") {
      this.#folder(key(path));
      return path;
    }
    if (kind === "link" && isWanted(path)) {
      throw this.#limits.ambiguous(`${shown(path)} is a link or a device, not a file`);
    }
    const own = key(path);
    if (this.#files.has(own)) throw this.#limits.ambiguous(`${shown(path)} is in it twice`);
    if (this.#folders.has(own)) throw this.#conflict(path);
    this.#files.add(own);
    const slash = own.lastIndexOf("/");
    if (slash > 0) this.#folder(own.slice(0, slash));
    return path;
  }

  #check(name: string, path: string): void {
    if (name.length > maxName) throw this.#limits.damaged("a name in it is too long");
    if (path.split("/").some((part) => new TextEncoder().encode(part).length > maxPart)) throw this.#limits.ambiguous("a name in it is too long for some systems");
    if (name.includes("\0")) throw this.#limits.ambiguous("a name in it has a zero byte");
    if (/(^|[/\\])\.\.([/\\]|$)/.test(name) || /^([/\\]|[A-Za-z]:)/.test(name)) {
      throw this.#limits.ambiguous(`the name ${shown(name)} leads out of its folder`);
    }
    if (path.includes("\\") && isWanted(path)) throw this.#limits.ambiguous(`${shown(path)} is in a folder to some programs`);
    // Info-ZIP leaves control characters out.
    const firm = path.replaceAll(/[\x01-\x1f\x7f]/g, "").replace(shaky, "");
    if (firm !== path && /\.(ckpt|car)$/i.test(firm)) throw this.#limits.ambiguous(`the name ${shown(path)} is not the same on every system`);
  }

  #folder(own: string): void {
    for (let end = own.length; end > 0; end = own.lastIndexOf("/", end - 1)) {
      const folder = own.slice(0, end);
      if (this.#folders.has(folder)) return;
      if (this.#files.has(folder)) throw this.#conflict(folder);
      this.#folders.add(folder);
    }
  }

  #conflict(path: string) {
    return this.#limits.ambiguous(`${shown(path)} is both a file and a folder`);
  }
}

/** One name for all that some file system takes for the same. */
function key(path: string): string {
  return path
    .replaceAll("\\", "/")
    .split("/")
    .filter((part) => part !== "" && part !== ".")
    .map((part) => part.replace(/[ .]+$/, "").replace(/[\x01-\x1f:*?"<>|]/g, "_")) // as unpackers do on Windows
    .join("/")
    .normalize("NFKC")
    .toLowerCase();
}

/** A name in an error: not longer than a line. */
function shown(name: string): string {
  return name.length <= 80 ? name : `${name.slice(0, 60)}…${name.slice(-16)}`;
}

/** The text of a name's bytes, which are UTF-8 in all that is made today, whatever a flag says. */
export function decodeName(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    // Never the same for two names, as replacement characters would be.
    return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  }
}
