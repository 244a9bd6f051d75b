// What lies beside a history and is looked at: docs/spec/lineage.md, "Beside a history".

import type { LeftOutSource } from "./input.ts";
import type { Witness } from "./options.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What the verifier is told of what lies beside the history. */
export interface Lies extends Partial<Witness> {
  /** The statement whom the agent succeeds. */
  readonly succession?: Uint8Array | undefined;
  /** The proof that the old key had chosen its successor. */
  readonly commitment?: Uint8Array | undefined;
}

/** What files are called in a history's folder, by what they are looked at for: verifier.Role. */
export const inFolder = { handovers: "handovers", proof: "head.tlog-proof", word: "head.monitor", succession: "succession", commitment: "successor.tlog-proof" } as const;

export type Role = keyof typeof inFolder;

const roles = Object.fromEntries(Object.entries(inFolder).map(([role, name]) => [name, role])) as Record<string, Role>;

/** How many bytes a file may have: a proof, and records of 313 bytes. */
const maxSize = 256 << 10;
const maxHandOvers = 65536 * 313;

interface File {
  readonly source: LeftOutSource;
  readonly bytes: Bytes;
}

/**
 * Reads what lies beside the history. Of two different files for one thing the first counts; hand-overs are taken from
 * all. What is not looked at is left out.
 */
export async function look(sources: readonly LeftOutSource[], witness: Witness | undefined, addHandOvers: (file: Bytes) => Promise<void>): Promise<{ lies: Lies; leftOut: LeftOutSource[] }> {
  const files: Record<Role, File[]> = { handovers: [], proof: [], word: [], succession: [], commitment: [] };
  for (const source of sources) {
    const role = (source.about?.role || roles[source.name]) as Role;
    files[role].push({ source, bytes: await read(source.part!, role) });
  }
  const leftOut: LeftOutSource[] = [];
  const leave = ({ source }: File) => {
    if (!source.found) leftOut.push(source);
  };
  /** Takes what was given, or what the first file has, if it is wanted. */
  const take = (role: Role, wanted: unknown, given?: Uint8Array) => {
    const first = wanted ? (given ?? files[role][0]?.bytes) : undefined;
    for (const file of files[role]) if (!first || !same(file.bytes, first)) leave(file);
    return first?.length ? first : undefined;
  };
  const proof = take("proof", witness, witness?.proof);
  const word = take("word", witness?.monitor, witness?.word);
  const succession = take("succession", true);
  const commitment = take("commitment", succession && witness);
  for (const file of files.handovers) await addHandOvers(file.bytes).catch(() => leave(file));
  return { lies: { ...witness, proof, word, succession, commitment }, leftOut };
}

/** Reads a file, but no more than shows that it is too long to be one. */
async function read(part: Blob | Bytes, role: Role): Promise<Bytes> {
  const some = part.slice(0, (role === "handovers" ? maxHandOvers : maxSize) + 1);
  return some instanceof Uint8Array ? some : new Uint8Array(await some.arrayBuffer());
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
