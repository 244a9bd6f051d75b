// Lives that are published on a server: docs/spec/publishing.md.

import { baseURL, headURL } from "./base.ts";
import { VerifyError } from "./error.ts";
import { stream, type Fetch } from "./input.ts";
import { isWhole } from "./pieces.ts";

/** Where a life stands, and in how many pieces it is there. It is what a server says. */
export interface Head {
  readonly agent: string;
  /** The CID of the newest checkpoint. */
  readonly checkpoint: string;
  /** Its tick, decimal. */
  readonly tick: string;
  readonly program: string;
  readonly checkpoints: number;
  readonly segments: number;
  /** How many checkpoints are in the tail, 0 if there is none. */
  readonly tail: number;
}

/** How a life is fetched. */
export interface FetchOptions {
  readonly fetch?: Fetch | undefined;
  readonly signal?: AbortSignal | undefined;
  /** How many bytes may come in all. */
  readonly limit?: number;
  /** Fetches what lies beside the life too: hand-overs, a succession, and the proof that its head was logged. What is not there is left out. */
  readonly beside?: boolean | undefined;
  /** Is told how many bytes came. */
  readonly onBytes?: ((n: number) => void) | undefined;
}

const maxHead = 512;
const maxSegments = 1 << 20;
const maxSegment = 128 << 20;
const maxCheckpoints = 1 << 30;
const maxTick = (1n << 64n) - 1n;

/** Without a limit of the caller's own. */
const defaultLimit = 2 ** 30;

/** So many requests are under way at the same time: browsers allow no more to a server that speaks HTTP/1.1. */
const atOnce = 6;

/** So long, in milliseconds, a server may send nothing. */
const stall = 30_000;

const number = "(0|[1-9]\\d*)";
const head = new RegExp(
  `^igor/head/v1\nagent (did:key:z6Mk[1-9A-HJ-NP-Za-km-z]{44})\nhead (bafkrei[a-z2-7]{52})\ntick ${number}\nprogram ([0-9a-f]{64})\ncheckpoints ${number}\nsegments ${number}\ntail ${number}\n$`,
);

/** Reads a head: undefined for a text that is none. */
export function parseHead(text: string): Head | undefined {
  const [, agent, checkpoint, tick, program, ...numbers] = (text.length <= maxHead && head.exec(text)) || [];
  const [checkpoints, segments, tail] = numbers.map(Number) as [number, number, number];
  if (!agent || !checkpoint || !tick || !program || BigInt(tick) > maxTick) return undefined;
  const inSegments = checkpoints - tail;
  const wrong = checkpoints === 0 || checkpoints > maxCheckpoints || segments > maxSegments || inSegments < 0 || segments > inSegments || (segments === 0 && inSegments > 0);
  return wrong ? undefined : { agent, checkpoint, tick, program, checkpoints, segments, tail };
}

const at = (base: URL, path: string) => new URL(base.href + path);

/** Where the hashes of a life are. */
export const indexURL = (base: URL, did: string) => at(base, `igor/${did}/index`);
/** Where one checkpoint is. */
export const blockURL = (base: URL, cid: string) => at(base, `ipfs/${cid}?format=raw`);

/** What a fetch may still take. */
export class Allowance {
  #left: number;
  readonly #onBytes: ((n: number) => void) | undefined;

  constructor({ limit = defaultLimit, onBytes }: FetchOptions) {
    this.#left = limit;
    this.#onBytes = onBytes;
  }

  take(n: number, path: string): void {
    this.#left -= n;
    this.#onBytes?.(n);
    if (this.#left < 0) throw new VerifyError("too-large", "more than this page fetches", { path, hint: "use igor verify" });
  }
}

/** Fetches a file of at most so many bytes. */
export async function get(url: URL, limit: number, allowance: Allowance, { fetch = globalThis.fetch, signal }: FetchOptions): Promise<Blob> {
  const path = url.href;
  const fail = (problem: string, hint: string, temporary = false, cause?: unknown) => new VerifyError("unreadable", problem, { path, hint, temporary, cause });
  const controller = new AbortController();
  const abort = () => controller.abort(signal?.reason);
  signal?.throwIfAborted();
  signal?.addEventListener("abort", abort);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(fail("nothing came for 30 seconds", "try again later", true)), stall);
  };
  alive();
  try {
    let response: Response;
    try {
      const init = { signal: controller.signal, credentials: "same-origin", referrerPolicy: "no-referrer" } as const;
      response = await fetch(url, init);
    } catch (cause) {
      controller.signal.throwIfAborted();
      throw fail("could not be fetched", "check the address, and that its server lets other pages read it (CORS)", true, cause);
    }
    if (!isWhole(response) || !response.body) {
      const temporary = [408, 425, 429].includes(response.status) || response.status >= 500;
      await response.body?.cancel().catch(() => {});
      throw fail(`could not be fetched: HTTP status ${response.status}`, temporary ? "try again later" : "check the address, and the DID or CID", temporary);
    }
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for await (const piece of stream(response.body, path, controller.signal)) {
      alive();
      size += piece.length;
      if (size > limit) throw fail("larger than it can be", "ask its operator", false);
      allowance.take(piece.length, path);
      parts.push(piece as Uint8Array<ArrayBuffer>);
    }
    return new Blob(parts);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    controller.abort();
  }
}

/** Fetches the head of a life. */
export async function fetchHead(base: URL, did: string, allowance: Allowance, options: FetchOptions): Promise<Head> {
  const url = headURL(base, did);
  const bytes = await (await get(url, maxHead, allowance, options)).arrayBuffer();
  const read = parseHead(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
  const path = url.href;
  if (!read) throw new VerifyError("unreadable", "what the server has there is no head of a life", { path, hint: "check the address: it may be a website that answers everything with a page" });
  if (read.agent !== did) throw new VerifyError("unreadable", "the server gives the head of another agent", { path, hint: "its operator has to mend that" });
  return read;
}

/** A part of a life. */
export interface Part {
  readonly name: string;
  readonly bytes: Blob;
}

/** Fetches the segments of a life and its tail, several at once, and gives them in order. */
export async function* fetchSegments(base: URL, life: Head, allowance: Allowance, options: FetchOptions): AsyncGenerator<Part, void, void> {
  const names = (i: number) => (i < life.segments ? `segments/${i}.car` : `tail/${life.checkpoint}.car`);
  const total = life.segments + (life.tail > 0 ? 1 : 0);
  const controller = new AbortController();
  const abort = () => controller.abort(options.signal?.reason);
  options.signal?.addEventListener("abort", abort);
  const under: Promise<Blob>[] = [];
  let next = 0;
  const begin = () => {
    if (next === total) return;
    const blob = get(at(base, `igor/${life.agent}/${names(next++)}`), maxSegment, allowance, { ...options, signal: controller.signal });
    blob.catch(() => {}); // whoever waits for it sees it
    under.push(blob);
  };
  try {
    for (let i = 0; i < atOnce; i++) begin();
    for (let i = 0; i < total; i++) {
      const bytes = await under.shift()!;
      begin();
      yield { name: names(i), bytes };
    }
  } finally {
    options.signal?.removeEventListener("abort", abort);
    controller.abort();
  }
}

/** How what lies beside a life begins. */
const beginnings = { handovers: "igor/handover/", succession: "igor/succession/", "head.tlog-proof": "c2sp.org/tlog-proof@", "head.monitor": "igor/monitor/", "successor.tlog-proof": "c2sp.org/tlog-proof@" } as const;

/** A file that lies beside a life. */
export type BesideName = keyof typeof beginnings;

/** What there is to say whether a life moved, and whom it succeeds; and all that there is. */
export const statements: readonly BesideName[] = ["handovers", "succession"];
export const allBeside = Object.keys(beginnings) as readonly BesideName[];

/** The size of a hand-over record, and how many there are at most. */
const handOverSize = 313;
const maxHandOvers = 65536;
const maxBeside = 256 << 10;

/** Fetches what lies beside a life. What is not there, or is not what its name says, is left out. */
export async function fetchBeside(base: URL, did: string, names: readonly BesideName[], allowance: Allowance, options: FetchOptions): Promise<Part[]> {
  const found = new Map<BesideName, Part>();
  await several(names, async (name) => {
    const limit = name === "handovers" ? maxHandOvers * handOverSize : maxBeside;
    const bytes = await get(at(base, `igor/${did}/${name}`), limit, allowance, options).catch((error: unknown) => {
      options.signal?.throwIfAborted();
      if (!(error instanceof VerifyError) || error.code === "too-large") throw error;
      return undefined;
    });
    if (!bytes || (name === "handovers" && bytes.size % handOverSize !== 0)) return;
    if ((await bytes.slice(0, beginnings[name].length).text()) === beginnings[name]) found.set(name, { name, bytes });
  });
  return names.flatMap((name) => found.get(name) ?? []);
}

/** Calls f for each, several at once, until one of them fails. */
export async function several<T>(all: Iterable<T>, f: (one: T) => Promise<void>): Promise<void> {
  const iterator = all[Symbol.iterator]();
  const work = async () => {
    for (let next; !(next = iterator.next()).done; ) await f(next.value);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}

/**
 * Fetches a published life: what `verifyHistory` takes. It is asked for at `from` alone, and is only what that server
 * says: a server can withhold the newest checkpoints, but cannot change or make up one.
 *
 * @example
 * const did = "did:key:z6Mk…";
 * const report = await verifyHistory(fetchLife(did, "https://agent.example/"), { did });
 */
export async function* fetchLife(did: string, from: string | URL, options: FetchOptions = {}): AsyncGenerator<Part, void, void> {
  const base = baseURL(from, globalThis.document?.baseURI);
  const allowance = new Allowance(options);
  yield* fetchSegments(base, await fetchHead(base, did, allowance, options), allowance, options);
  if (options.beside) yield* await fetchBeside(base, did, allBeside, allowance, options);
}
