// Finds a life by its name on the servers that the visitor agreed to: docs/spec/publishing.md, "Reading".

import { VerifyError } from "../verify/error.ts";
import { sha256 } from "../verify/sha256.ts";
import { allBeside, Allowance, blockURL, fetchBeside, fetchHead, fetchSegments, get, indexURL, several, statements, type FetchOptions, type Head } from "../verify/published.ts";
import { cidOf } from "./cid.ts";
import type { Found } from "./collect.ts";
import { count, size, whole } from "./dom.ts";

/** So many checkpoints are fetched one by one, at most. */
const maxSingly = 20_000;

/** So many hashes of an index may lead nowhere, until it is left alone. */
const maxFailures = 16;

const maxCheckpoint = 64 << 20;
const hashSize = 32;

/** Where a checkpoint of version 0x04 has what is needed here. */
const at = { prevHash: 81, key: 113, size: 209 };

/** What a server says of where the life stands. */
export interface Said {
  readonly from: URL;
  readonly head?: Head | undefined;
  readonly error?: string | undefined;
}

/** What was found, and how. */
export interface Told {
  readonly servers: readonly Said[];
  /** The server whose head it is. */
  readonly main: URL;
  /** Why it was fetched one by one, if it was. */
  readonly slow?: string | undefined;
}

/** A life that is to be found. */
export interface Wanted {
  readonly did: string;
  readonly cid: string;
  readonly from: readonly URL[];
  /** Whether proofs that the head was logged are wanted too. */
  readonly proofs: boolean;
  /** Leaves out the segments, which were wrong, and says so. */
  readonly singly?: string | undefined;
  /** Says whose checkpoint it is. */
  owner(checkpoint: Uint8Array): Promise<string | undefined>;
  told(told: Told): void;
  progress(words: string): void;
}

/** Fetches a life, within a limit of bytes. */
export async function* findLife(wanted: Wanted, limit: number, signal: AbortSignal | undefined): AsyncGenerator<Found> {
  let bytes = 0;
  let what = "";
  const options: FetchOptions = {
    signal,
    limit,
    fetch: (url, init) => fetch(url, { ...init, credentials: "omit", referrerPolicy: "no-referrer" }),
    onBytes: (n) => wanted.progress(`${what}${size((bytes += n))}`),
  };
  const search = new Search(wanted, new Allowance(options), options, (words) => (what = `${words}, `));
  yield* search.run();
}

class Search {
  readonly #blocks = new Map<string, Blob>();

  constructor(
    readonly wanted: Wanted,
    readonly allowance: Allowance,
    readonly options: FetchOptions,
    readonly say: (words: string) => void,
  ) {}

  async *run(): AsyncGenerator<Found> {
    const { wanted, allowance, options } = this;
    let { did } = wanted;
    if (wanted.cid) {
      const block = await this.#block(wanted.cid);
      const owner = await wanted.owner(new Uint8Array(await block.arrayBuffer()));
      if (!owner) throw new VerifyError("nothing-to-verify", "what has this CID is no checkpoint", { path: wanted.cid, hint: "check the CID" });
      did = owner;
    }
    const failures: unknown[] = [];
    let servers: Said[] = await Promise.all(
      wanted.from.map(async (from) => {
        try {
          return { from, head: await fetchHead(from, did, allowance, options) };
        } catch (error) {
          options.signal?.throwIfAborted();
          failures.push(error);
          return { from, error: error instanceof VerifyError ? error.problem : String(error) };
        }
      }),
    );
    for (;;) {
      const [main] = servers.filter(({ head }) => head).sort((a, b) => (BigInt(a.head!.tick) < BigInt(b.head!.tick) ? 1 : -1));
      if (!main && !wanted.cid) throw failures.at(-1);
      try {
        const parts = await this.#read(servers, main);
        if (main) parts.push(...(await this.#beside(main.from, main.head!.agent)));
        return yield* parts;
      } catch (error) {
        // A server must not keep others from being heard by what it claims.
        options.signal?.throwIfAborted();
        if (!main || !(error instanceof VerifyError) || error.code === "too-large") throw error;
        failures.push(error);
        servers = servers.map((said) => (said === main ? { from: said.from, error: error.problem } : said));
      }
    }
  }

  /** Gets the life that a server's head names, or the checkpoint's that is wanted. */
  async #read(servers: readonly Said[], main: Said | undefined): Promise<Found[]> {
    const { wanted, allowance, options } = this;
    this.#given.clear();
    let slow = main ? wanted.singly : "no server has a head of this life";
    if (main && !slow) {
      this.say(`${count(main.head!.checkpoints, "checkpoint")} of a life at tick ${whole(main.head!.tick)}`);
      const parts: Found[] = [];
      try {
        for await (const { name, bytes } of fetchSegments(main.from, main.head!, allowance, options)) parts.push({ name, file: bytes, folder: "" });
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!(error instanceof VerifyError) || error.code === "too-large") throw error;
        slow = `${error.path?.slice(main.from.href.length) ?? "a segment"} ${error.problem}`;
      }
      if (!slow && !(await endsIn(parts.at(-1)!.file!, main.head!.checkpoint))) slow = "the segments do not end in the head";
      if (!slow) {
        wanted.told({ servers, main: main.from });
        // A checkpoint that was asked for and is in no segment shows another future.
        if (wanted.cid && !(await inOne(parts, wanted.cid))) parts.push({ name: `${wanted.cid}.ckpt`, file: await this.#block(wanted.cid), folder: "" });
        return parts;
      }
      for (const { file } of parts) await this.#take(file!);
    }
    wanted.told({ servers, main: main?.from ?? wanted.from[0]!, slow });
    if (main) await this.#index(main.from, main.head!);
    const parts = await this.#chain(main?.head?.checkpoint ?? wanted.cid);
    if (main && wanted.cid && !this.#given.has(wanted.cid)) parts.push(...(await this.#chain(wanted.cid)));
    return parts;
  }

  /** Gets what lies beside the life. */
  async #beside(from: URL, did: string): Promise<Found[]> {
    const files = await fetchBeside(from, did, this.wanted.proofs ? allBeside : statements, this.allowance, this.options);
    return files.map(({ name, bytes }) => ({ name, file: bytes, folder: "" }));
  }

  /** Gets a checkpoint from whoever has it. */
  async #block(cid: string): Promise<Blob> {
    const known = this.#blocks.get(cid);
    if (known) return known;
    let first: unknown;
    for (const from of this.wanted.from) {
      const url = blockURL(from, cid);
      try {
        const blob = await get(url, maxCheckpoint, this.allowance, this.options);
        if (cidOf(await hash(blob)) !== cid) throw new VerifyError("unreadable", "the server gives other bytes than those of this CID", { path: url.href, hint: "do not rely on this server" });
        this.#blocks.set(cid, blob);
        return blob;
      } catch (error) {
        this.options.signal?.throwIfAborted();
        if (error instanceof VerifyError && error.code === "too-large") throw error;
        first ??= error;
      }
    }
    throw first;
  }

  /** Takes the checkpoints of a segment, as far as it is one. */
  async #take(segment: Blob): Promise<void> {
    for (const section of sections(new Uint8Array(await segment.arrayBuffer()))) {
      const block = new Blob([section.subarray(cidSize)]);
      this.#blocks.set(cidOf(await hash(block)), block);
    }
  }

  /** Gets what an index names and no segment had, several at once. */
  async #index(from: URL, head: Head): Promise<void> {
    const { options } = this;
    let index: Uint8Array;
    try {
      // It may be longer, for the life goes on.
      const most = 2 * head.checkpoints * hashSize + (1 << 20);
      index = new Uint8Array(await (await get(indexURL(from, head.agent), most, this.allowance, options)).arrayBuffer());
    } catch {
      options.signal?.throwIfAborted();
      return;
    }
    const cids = Array.from({ length: Math.min(head.checkpoints, Math.floor(index.length / hashSize)) }, (_, i) => cidOf(index.subarray(i * hashSize, (i + 1) * hashSize)));
    let failures = 0;
    let done = 0;
    const missing = cids.filter((cid) => !this.#blocks.has(cid)).slice(-maxSingly);
    await several(missing.reverse(), async (cid) => {
      options.signal?.throwIfAborted();
      if (failures >= maxFailures) return;
      this.say(`${++done} of ${count(missing.length, "checkpoint")} one by one`);
      await this.#block(cid).catch((error: unknown) => {
        options.signal?.throwIfAborted();
        if (error instanceof VerifyError && error.code === "too-large") throw error;
        failures++;
      });
    });
  }

  readonly #given = new Set<string>();

  /** Gets a checkpoint and those before it, of which each names the one before. */
  async #chain(cid: string): Promise<Found[]> {
    const parts: Found[] = [];
    for (let asked = 0; cid && !this.#given.has(cid); ) {
      if (!this.#blocks.has(cid) && ++asked > maxSingly) {
        throw new VerifyError("too-many", `more than ${maxSingly} checkpoints would have to be fetched one after the other`, { hint: "use igor verify, or ask the server’s operator for the segments" });
      }
      this.say(`${count(this.#given.size, "checkpoint")}, one by one`);
      const file = await this.#block(cid);
      this.#given.add(cid);
      parts.push({ name: `${cid}.ckpt`, file, folder: "" });
      const start = new Uint8Array(await file.slice(0, at.size).arrayBuffer());
      const previous = start.length === at.size && start[0] === 4 ? start.subarray(at.prevHash, at.prevHash + hashSize) : undefined;
      cid = previous?.some((byte) => byte !== 0) ? cidOf(previous) : "";
    }
    return parts;
  }
}

const cidSize = 36;

/** The sections of a CAR after its header, as far as it is one. */
function* sections(bytes: Uint8Array<ArrayBuffer>): Generator<Uint8Array<ArrayBuffer>> {
  for (let from = 0, end = 0; from < bytes.length; from = end) {
    let length = 0;
    let digits = 0;
    do length += (bytes[from + digits]! & 0x7f) * 2 ** (7 * digits);
    while (bytes[from + digits++]! >= 0x80 && digits < 5);
    end = from + digits + length;
    if (!(end <= bytes.length) || length < cidSize) return;
    if (from > 0) yield bytes.subarray(from + digits, end);
  }
}

/** Whether one of the segments has a checkpoint. */
async function inOne(segments: readonly Found[], cid: string): Promise<boolean> {
  for (const { file } of segments) {
    for (const section of sections(new Uint8Array(await file!.arrayBuffer()))) {
      if (cidOf(section.subarray(cidSize - hashSize, cidSize)) === cid) return true;
    }
  }
  return false;
}

async function hash(blob: Blob): Promise<Uint8Array> {
  const bytes = await blob.arrayBuffer();
  return globalThis.crypto?.subtle ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)) : sha256(new Uint8Array(bytes));
}

/** Whether a segment's root is a checkpoint. Its reader holds it to that. */
async function endsIn(segment: Blob, cid: string): Promise<boolean> {
  const [from, header] = [18, 50]; // docs/spec/car.md
  const root = new Uint8Array(await segment.slice(from, header).arrayBuffer());
  return root.length === hashSize && cidOf(root) === cid;
}
