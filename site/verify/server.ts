import { blockClaimSize, Core, type CARPiece } from "./core.ts";
import { VerifyError } from "./error.ts";
import type { Lies } from "./beside.ts";
import type { Kind } from "./input.ts";
import { blockStartSize } from "./pieces.ts";
import { RangeReader, type Blocks } from "./range.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a worker does for the page: it examines, and links runs, each by its number. */
export class Server {
  #module: WebAssembly.Module;
  #idle: Promise<Core> | undefined; // the one to use next, which takes its time to start
  #runs = new Map<number, Promise<Core>>();
  #ranges = new Map<number, RangeReader>();

  constructor(module: WebAssembly.Module) {
    this.#module = module;
    this.#idle = Core.start(module);
    this.#idle.catch(() => {}); // whoever uses it will see it
  }

  #take(): Promise<Core> {
    const core = this.#idle ?? Core.start(this.#module);
    this.#idle = undefined;
    return core;
  }

  #give(core: Core): void {
    if (!this.#idle && core.reset()) this.#idle = Promise.resolve(core);
  }

  async #once<T>(f: (core: Core) => T): Promise<T> {
    const core = await this.#take();
    try {
      return f(core);
    } finally {
      this.#give(core);
    }
  }

  version(): Promise<string> {
    return this.#once((core) => core.version());
  }

  /** Returns the parts too, for their memory to be used again. */
  async examine(sizes: Uint32Array, parts: Bytes[]): Promise<{ findings: Bytes; parts: Bytes[] }> {
    return { findings: await this.#once((core) => core.examine(sizes, parts)), parts };
  }

  /** Begins with a range of a CAR, which it reads: see range.ts. */
  async rangeOpen(range: number, blob: Blob, from: number, to: number, known: boolean): Promise<void> {
    const examine = (sizes: Uint32Array, parts: Bytes[]) => this.#once((core) => core.examine(sizes, parts));
    this.#ranges.set(range, new RangeReader(examine, blob, from, to, known));
  }

  /** Examines some blocks of a range; none when there are no more. */
  async rangeNext(range: number): Promise<Blocks> {
    const reader = this.#ranges.get(range);
    if (!reader) throw new VerifyError("crashed", "the verifier crashed");
    return reader.next();
  }

  async rangeClose(range: number): Promise<void> {
    const reader = this.#ranges.get(range);
    this.#ranges.delete(range);
    await reader?.close();
  }

  inspect(bytes: Uint8Array): Promise<string> {
    return this.#once((core) => core.inspect(bytes));
  }

  receipts(bytes: Uint8Array): Promise<string> {
    return this.#once((core) => core.receipts(bytes));
  }

  kind(name: string, start: Uint8Array): Promise<Kind> {
    return this.#once((core) => core.kind(name, start));
  }

  async leaveOut(run: number, names: readonly (string | Uint8Array)[], starts: readonly Uint8Array[]): Promise<void> {
    (await this.#run(run)).leaveOut(names, starts);
  }

  /** Says what a fork proof proves, as JSON. */
  async forkProof(file: Uint8Array, policy: string): Promise<string> {
    const core = await this.#take();
    try {
      return core.forkProof(file, policy);
    } finally {
      this.#give(core);
    }
  }

  async open(run: number, did: string, head: string): Promise<void> {
    const core = this.#take();
    this.#runs.set(run, core);
    (await core).checkPins(did, head);
  }

  /** Forgets a run. */
  async close(run: number): Promise<void> {
    const core = this.#runs.get(run);
    this.#runs.delete(run);
    if (core) this.#give(await core);
  }

  #run(run: number): Promise<Core> {
    const core = this.#runs.get(run);
    if (!core) throw new VerifyError("crashed", "the verifier crashed");
    return core;
  }

  async add(run: number, findings: Uint8Array, names: readonly (string | Uint8Array)[]): Promise<void> {
    (await this.#run(run)).add(findings, names);
  }

  async carOpen(run: number): Promise<void> {
    (await this.#run(run)).carOpen();
  }

  /** Reads on in a CAR, after so many bytes of an open block. Returns the input too, for its memory to be used again. */
  async carFeed(run: number, passed: number, input: Bytes, batchLength: number): Promise<CARPiece & { input: Bytes }> {
    const core = await this.#run(run);
    core.carPass(passed);
    return { ...core.carFeed(input, batchLength), input };
  }

  async carCheck(run: number, claims: Uint8Array, findings: Uint8Array): Promise<void> {
    (await this.#run(run)).carCheck(claims, findings);
  }

  /**
   * Takes blocks of a range, after so many bytes of an open block, and checks them. The last one is open after
   * that: returns how many bytes of it are to come.
   */
  async carTake(run: number, passed: number, { starts, sizes, findings }: Blocks): Promise<number> {
    const core = await this.#run(run);
    const claims = new Uint8Array(sizes.length * blockClaimSize);
    sizes.forEach((size, i) => {
      core.carPass(passed);
      const { open } = core.carFeed(starts.subarray(i * blockStartSize, (i + 1) * blockStartSize), 1);
      if (!open || open.came + open.missing !== size) throw new VerifyError("crashed", "a block has another size than the CAR says");
      claims.set(open.claim, i * blockClaimSize);
      passed = open.missing;
    });
    core.carCheck(claims, findings);
    return passed;
  }

  /** Ends a CAR, after so many bytes of an open block. */
  async carClose(run: number, passed: number): Promise<void> {
    const core = await this.#run(run);
    core.carPass(passed);
    core.carClose();
  }

  /** Returns the report's JSON in UTF-8, or nothing if there is no checkpoint. */
  async link(run: number, did: string, head: string, lies?: Lies): Promise<Bytes> {
    const core = await this.#run(run);
    if (lies) core.beside(lies);
    return core.distinct() === 0 ? new Uint8Array() : core.link(did, head);
  }

  /** Adds a file of hand-over records. */
  async handOvers(run: number, file: Uint8Array): Promise<void> {
    (await this.#run(run)).handOvers(file);
  }

  async path(run: number): Promise<Bytes> {
    return (await this.#run(run)).path();
  }

  async carStart(run: number, head: Uint8Array): Promise<Bytes> {
    return (await this.#run(run)).carStart(head);
  }

  async carBlocks(run: number, blocks: Uint8Array): Promise<Bytes[]> {
    return (await this.#run(run)).carBlocks(blocks);
  }
}

/** The operations of a {@link Server}, by name. */
export type Operations = {
  [Name in keyof Server]: Server[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Result
    : never;
};

/** A message to a worker: its first one is the module alone. */
export interface Request {
  id: number;
  name: keyof Operations;
  args: unknown[];
}

/** A worker's answer. Its first one has the id 0 and says that it has started. */
export interface Response {
  id: number;
  result?: unknown;
  error?: { code: VerifyError["code"]; message: string };
}

/** The other side of `connect` in pool.ts: answers what is asked. */
export function serve(
  listen: (receive: (message: unknown) => void) => void,
  post: (message: Response, transfer: ArrayBuffer[]) => void,
): void {
  let server: Server | undefined;
  listen(async (message) => {
    if (message instanceof WebAssembly.Module) {
      server = new Server(message);
      post({ id: 0 }, []);
      return;
    }
    const { id, name, args } = message as Request;
    try {
      const operation = server![name] as (...args: unknown[]) => unknown;
      const result = await operation.apply(server, args);
      post({ id, result }, transferable(result));
    } catch (error) {
      post({ id, error: describe(error) }, []);
    }
  });
}

function describe(error: unknown): NonNullable<Response["error"]> {
  if (error instanceof VerifyError) return { code: error.code, message: error.message };
  return { code: "crashed", message: `the verifier crashed: ${error}` };
}

/** The buffers in a value, for handing over instead of copying. */
export function transferable(value: unknown): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  const look = (value: unknown): void => {
    if (ArrayBuffer.isView(value)) buffers.add(value.buffer as ArrayBuffer);
    else if (value instanceof Object) Object.values(value).forEach(look);
  };
  look(value);
  return [...buffers];
}
