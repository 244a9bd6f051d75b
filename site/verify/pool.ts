import { VerifyError } from "./error.ts";
import { loadModule } from "./module.ts";
import type { Configuration } from "./options.ts";
import { cores, pause, startWorker, wasmURL, workerURL, type Port } from "./platform.ts";
import type { Operations, Request, Response } from "./server.ts";

const maxWorkers = 8;

/** How many batches a worker is given at once, so that it never waits for the next. */
const depth = 2;

/** How many bytes may be under way. A larger checkpoint goes alone. */
const maxBytes = 64 << 20;

/** The other side of `serve`: calls the operations of a server, in a worker or on this thread. */
export interface Channel {
  call<Name extends keyof Operations>(
    name: Name,
    args: Parameters<Operations[Name]>,
    transfer?: ArrayBuffer[],
  ): Promise<Awaited<ReturnType<Operations[Name]>>>;
  /** How many calls are not answered yet. */
  readonly load: number;
}

/** Permission to have a batch under way. */
export interface Slot {
  /** Takes the parts, and gives their memory back. */
  examine(sizes: Uint32Array, parts: Uint8Array<ArrayBuffer>[]): ReturnType<Operations["examine"]>;
  /** Returns the channel of the worker that has the least to do, and waits for one that starts. */
  examiner(): Promise<Channel>;
  release(): void;
}

/** Workers, started when they are needed, that all runs of a page share. */
export class Pool {
  #configuration: Configuration;
  #started: Promise<Started> | undefined;
  #waiting: { bytes: number; admit: () => void }[] = [];
  #slots = 0;
  #bytes = 0;

  constructor(configuration: Configuration = {}) {
    this.#configuration = configuration;
  }

  /** Returns the channel that links. It is another than those that examine, so that they never keep it waiting. */
  async linker(): Promise<Channel> {
    return (await this.#start()).linker;
  }

  /** How many workers may examine; 0 where there are none. */
  async workers(): Promise<number> {
    return (await this.#start()).limit;
  }

  #start(): Promise<Started> {
    this.#started ??= start(this.#configuration).catch((error: unknown) => {
      this.#started = undefined; // the next run tries again
      throw error;
    });
    return this.#started;
  }

  /** Waits until a batch of so many bytes may be under way. */
  async slot(bytes: number): Promise<Slot> {
    const started = await this.#start();
    await new Promise<void>((admit) => {
      this.#waiting.push({ bytes, admit });
      this.#admit(started);
    });
    let released = false;
    return {
      examine: async (sizes, parts) => {
        const channel = await started.examiner();
        return channel.call("examine", [sizes, parts], parts.map(({ buffer }) => buffer));
      },
      examiner: () => started.examiner(true),
      release: () => {
        if (released) return;
        released = true;
        this.#slots--;
        this.#bytes -= bytes;
        this.#admit(started);
      },
    };
  }

  #admit({ limit }: Started): void {
    for (let next; (next = this.#waiting[0]); this.#waiting.shift()) {
      const full = this.#slots >= depth * Math.max(limit, 1);
      if (full || (this.#slots > 0 && this.#bytes + next.bytes > maxBytes)) return;
      this.#slots++;
      this.#bytes += next.bytes;
      next.admit();
    }
  }
}

/** A pool's channels. */
interface Started {
  linker: Channel;
  /** How many workers may examine; 0 where there are none. */
  limit: number;
  /** Returns the channel that has the least to do; after waiting for one more, if it is to have much. */
  examiner(much?: boolean): Promise<Channel>;
}

async function start({ wasm = wasmURL, worker = workerURL, workers }: Configuration): Promise<Started> {
  const base = globalThis.document?.baseURI ?? import.meta.url;
  const module = loadModule(new URL(wasm, base));
  module.catch(() => {}); // it is awaited below
  const limit = workers ?? Math.min(cores(), maxWorkers);
  const url = new URL(worker, base);
  if (limit > 0) {
    // The workers start while the module comes.
    const [linker, first] = await Promise.allSettled([connect(module, url), connect(module, url)]);
    if (linker.status === "fulfilled" && first.status === "fulfilled") {
      return { linker: linker.value, limit, examiner: examiners(first.value, limit, () => connect(module, url)) };
    }
    // A content security policy, a sandbox, or a script of another origin forbids
    // workers. What they would do is slower here, but the same.
    for (const { status, value } of [linker, first] as { status: string; value?: Remote }[]) {
      if (status === "fulfilled") value?.close();
    }
  }
  const local = new Local(new (await import("./server.ts")).Server(await module));
  return { linker: local, limit: 0, examiner: async () => local };
}

/** Chooses among examiners, and starts one more while there are fewer than the limit and all have work. */
function examiners(first: Remote, limit: number, more: () => Promise<Remote>): Started["examiner"] {
  let channels = [first];
  let starting = 0;
  const grow = async () => {
    starting++;
    try {
      const channel = await more();
      channels.push(channel); // not before: channels may be another array by now
    } catch {
      limit = channels.length; // as many as there can be
    } finally {
      starting--;
    }
  };
  return async (much) => {
    channels = channels.filter((channel) => !channel.broken);
    if (channels.length === 0 && starting === 0) limit = Math.max(limit, 1);
    const idle = channels.some((channel) => channel.load === 0);
    if (!idle && channels.length + starting < limit) {
      const growing = grow();
      if (much || channels.length === 0) await growing;
    }
    const least = channels.reduce<Remote | undefined>((a, b) => (a && a.load <= b.load ? a : b), undefined);
    if (!least) throw new VerifyError("crashed", "no worker could be started");
    return least;
  };
}

/** Starts a worker, gives it the module, and waits until it answers. */
function connect(module: Promise<WebAssembly.Module>, url: URL): Promise<Remote> {
  return new Promise((resolve, reject) => {
    const remote: Remote = new Remote(url, () => resolve(remote), reject);
    module.then(
      (module) => remote.post(module, []),
      (error: unknown) => {
        remote.close();
        reject(error);
      },
    );
  });
}

/** A channel to a worker. */
class Remote implements Channel {
  broken = false;
  #port: Port;
  #calls = new Map<number, { resolve: (result: never) => void; reject: (error: unknown) => void }>();
  #lastID = 0;

  constructor(url: URL, ready: () => void, failed: (cause: unknown) => void) {
    const receive = (message: unknown) => {
      const { id, result, error } = message as Response;
      if (id === 0) {
        this.#port.busy(false);
        return ready();
      }
      const call = this.#calls.get(id);
      this.#calls.delete(id);
      if (this.#calls.size === 0) this.#port.busy(false);
      if (error) call?.reject(new VerifyError(error.code, error.message));
      else call?.resolve(result as never);
    };
    this.#port = startWorker(url, receive, (cause) => {
      this.broken = true;
      this.#port.terminate();
      failed(cause);
      const error = new VerifyError("crashed", "a worker crashed", { hint: "try again with less at once", cause });
      for (const call of this.#calls.values()) call.reject(error);
      this.#calls.clear();
    });
  }

  get load(): number {
    return this.#calls.size;
  }

  post(message: unknown, transfer: ArrayBuffer[]): void {
    if (!this.broken) this.#port.post(message, transfer);
  }

  close(): void {
    this.broken = true;
    this.#port.terminate();
  }

  call<Name extends keyof Operations>(
    name: Name,
    args: Parameters<Operations[Name]>,
    transfer: ArrayBuffer[] = [],
  ): Promise<Awaited<ReturnType<Operations[Name]>>> {
    return new Promise((resolve, reject) => {
      if (this.broken) throw new VerifyError("crashed", "a worker crashed");
      const request: Request = { id: ++this.#lastID, name, args };
      this.#calls.set(request.id, { resolve, reject });
      this.#port.busy(true);
      this.post(request, transfer);
    });
  }
}

/** A channel to a server on this thread. Between the calls, the page handles its events. */
class Local implements Channel {
  load = 0;
  #server: Operations;

  constructor(server: Operations) {
    this.#server = server;
  }

  async call<Name extends keyof Operations>(
    name: Name,
    args: Parameters<Operations[Name]>,
  ): Promise<Awaited<ReturnType<Operations[Name]>>> {
    await pause();
    const operation = this.#server[name] as (...args: unknown[]) => ReturnType<Operations[Name]>;
    return await operation.apply(this.#server, args);
  }
}
