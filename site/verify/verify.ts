import type { Lies } from "./beside.ts";
import type { CARBlocks } from "./core.ts";
import { VerifyError } from "./error.ts";
import { readAll, sources, type CARSource, type CheckpointSource, type Input, type KindOf, type LeftOutSource, type Source } from "./input.ts";
import { takeOptions, type Options } from "./options.ts";
import type { Channel, Pool, Slot } from "./pool.ts";
import { blockStartSize, chunkSize, maxPieceSize, maxRangeBlock } from "./pieces.ts";
import { pause } from "./platform.ts";
import type { Place } from "./ranges.ts";
import { parseReport, type Report } from "./report.ts";
import { Turns } from "./turns.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Packed findings, and the files or the CAR that they are of. */
export interface Batch {
  readonly findings: Uint8Array;
  readonly from: readonly CheckpointSource[] | CARSource;
}

/** A batch of small checkpoints has at most so many bytes, and so many checkpoints. */
const batchSize = 256 << 10;
const batchLength = 256;

/** On the page's own thread a batch has so many, so that the page stays responsive. */
const localBatchLength = 32;

/** Of a CAR with large blocks, workers read what is left, if it is more than this. */
const rangesFrom = 32 << 20;

/** Files are taken for so long at a time, in milliseconds: a browser looks each of them up on the disk, while the page waits. */
const longest = 10;

/** Each run that is under way has an instance of the verifier. A page in Chromium has room for about a hundred. */
const turns = new Turns(16);

let lastRun = 0;

/** Verifies what is given as one history. A rejection means that there is no verdict. */
export async function verify(pool: Pool, input: Input, options: Options): Promise<Report> {
  return run(pool, input, takeOptions(options), async (linked) => linked.report);
}

/** A history that was linked, and where it is. */
export interface Linked {
  readonly report: Report;
  readonly linker: Channel;
  readonly run: number;
  /** What lies beside it, but for hand-overs. */
  readonly lies: Lies | undefined;
}

/** Verifies, and does something with the linked history while it is still there. */
export async function run<Result>(
  pool: Pool,
  input: Input,
  options: Options,
  then: (linked: Linked) => Promise<Result>,
  onBatch?: (batch: Batch) => void,
): Promise<Result> {
  const { signal } = options;
  signal?.throwIfAborted();
  return turns.run(signal, async () => {
    const aborted = new Promise<never>((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
    const id = ++lastRun;
    const linker = await Promise.race([pool.linker(), aborted]);
    const history = new History(pool, linker, id, options, await pool.workers(), onBatch);
    try {
      return await Promise.race([history.read(input).then(then), aborted]);
    } finally {
      linker.call("close", [id]).catch(() => {}); // a broken worker holds nothing
    }
  });
}

/** One run. */
export class History {
  #jobs: Jobs;
  #batchLength: number;
  #checkpoints = 0;
  #firstLeftOut: LeftOutSource | undefined;
  #beside: LeftOutSource[] = [];
  #bytes = 0;

  constructor(
    readonly pool: Pool,
    readonly linker: Channel,
    readonly run: number,
    readonly options: Options,
    readonly workers: number,
    readonly onBatch: ((batch: Batch) => void) | undefined,
  ) {
    this.#jobs = new Jobs(options.signal);
    this.#batchLength = workers > 0 ? batchLength : localBatchLength;
  }

  async read(input: Input): Promise<Linked> {
    const { did = "", head = "" } = this.options;
    const { linker, run } = this;
    await linker.call("open", [run, did, head]);
    try {
      const kindOf: KindOf = (name, start) => linker.call("kind", [name, start]);
      await this.#readSources(sources(input, kindOf, this.options));
    } catch (error) {
      await this.#jobs.finish(); // what failed earlier in the input comes first
      throw error;
    }
    await this.#jobs.finish();
    const lies = this.#beside.length > 0 ? await this.#look() : this.options.witness;
    const json = await linker.call("link", [run, did, head, lies]);
    if (json.length === 0) {
      const { name, path = name, about } = this.#firstLeftOut ?? {};
      if (about) throw new VerifyError("nothing-to-verify", `this is ${about.what}, and no checkpoint`, { path: path || "the input", hint: about.next });
      throw new VerifyError("nothing-to-verify", "nothing to verify", {
        hint: "give checkpoints, a folder with .ckpt files, or a .car history",
      });
    }
    return { report: await parseReport(json, this.options.signal), linker, run, lies };
  }

  /** Looks at what lies beside the history. */
  async #look(): Promise<Lies> {
    const { look } = await import("./beside.ts");
    const { lies, leftOut } = await look(this.#beside, this.options.witness, (file) => this.linker.call("handOvers", [this.run, file]));
    await this.#leaveOut(leftOut);
    return lies;
  }

  async #readSources(sources: AsyncIterable<Source>): Promise<void> {
    let batch: CheckpointSource[] = [];
    let bytes = 0;
    const leftOut: LeftOutSource[] = [];
    let began = performance.now();
    for await (const source of sources) {
      if (performance.now() - began > longest) {
        await pause();
        began = performance.now();
      }
      if (source.kind === "left-out") {
        if (source.about && !source.found) this.#firstLeftOut ??= source;
        (source.part ? this.#beside : leftOut).push(source);
        if (leftOut.length === batchLength) await this.#leaveOut(leftOut.splice(0));
        continue;
      }
      if (source.kind === "car") {
        await this.#readCAR(source);
        continue;
      }
      if (batch.length > 0 && (bytes + source.size > batchSize || batch.length === this.#batchLength)) {
        await this.#examineFiles(batch, bytes);
        [batch, bytes] = [[], 0];
      }
      batch.push(source);
      bytes += source.size;
    }
    if (batch.length > 0) await this.#examineFiles(batch, bytes);
    await this.#leaveOut(leftOut);
  }

  async #leaveOut(files: readonly LeftOutSource[]): Promise<void> {
    const [names, starts] = [files.map(({ name, rawName }) => rawName ?? name), files.map(({ start }) => start)];
    await this.linker.call("leaveOut", [this.run, names, starts]);
  }

  #examineFiles(batch: readonly CheckpointSource[], bytes: number): Promise<void> {
    return this.#jobs.start(this.pool.slot(bytes), async (slot) => {
      const sizes = Uint32Array.from(batch, ({ size }) => size);
      const { findings } = await slot.examine(sizes, [await readAll(batch)]);
      this.#examined(batch.length, bytes, { findings, from: batch });
      const names = batch.map(({ name, rawName }) => rawName ?? name);
      await this.linker.call("add", [this.run, findings, names], [findings.buffer]);
    });
  }

  async #readCAR(car: CARSource): Promise<void> {
    const { linker, run } = this;
    const place: Place = { at: 0, passed: 0 };
    await linker.call("carOpen", [run]);
    if (await this.#readPieces(car, place, this.workers && car.blob ? car.blob.size - rangesFrom : 0)) {
      const { readRanges } = await import("./ranges.ts");
      await readRanges(car, place, this, this.#jobs, ofCAR(car));
      await this.#readPieces(car, place, 0);
    }
    await this.#jobs.finish();
    await linker.call("carClose", [run, place.passed]).catch(ofCAR(car));
  }

  /**
   * Reads on in a CAR to its end, or to where it is malformed; or, before some place, to the end of the first block
   * that is one of a range: then returns true.
   */
  async #readPieces(car: CARSource, place: Place, before: number): Promise<boolean> {
    const pieces = car.chunks(place.at);
    let open: CARBlocks | undefined; // a large block, of which some bytes are still to come
    let missing = 0;
    try {
      for (;;) {
        // With a large block comes the beginning of the next and no more, since that would have to be copied.
        const { value: piece, done } = await pieces.next(open ? Math.min(missing + blockStartSize, maxPieceSize) : chunkSize);
        if (done) return false;
        place.at += piece.length;
        let input: Bytes | undefined = piece;
        if (open) {
          const size = Math.min(missing, piece.length);
          missing -= size;
          place.passed += size;
          input = size < piece.length ? piece.slice(size) : undefined;
          open.parts.push(piece.subarray(0, size));
          if (missing > 0) continue;
          await this.#examineBlocks(car, open);
          if (place.at < before && open.sizes[0]! <= maxRangeBlock) {
            place.at -= input?.length ?? 0;
            return true;
          }
          open = undefined;
        }
        if (!input) continue;
        const fed = await this.linker.call("carFeed", [this.run, place.passed, input, this.#batchLength], [input.buffer]);
        place.passed = 0;
        for (const blocks of fed.batches) await this.#examineBlocks(car, blocks);
        if (fed.open) {
          missing = fed.open.missing;
          const { claim, came } = fed.open;
          open = { claims: claim, sizes: Uint32Array.of(came + missing), parts: [fed.input.subarray(fed.input.length - came)] };
        } else car.reuse?.(fed.input.buffer);
        if (fed.malformed) return false;
      }
    } finally {
      await pieces.return();
    }
  }

  #examineBlocks(car: CARSource, { claims, sizes, parts }: CARBlocks): Promise<void> {
    const count = sizes.length;
    const size = sizes.reduce((sum, size) => sum + size, 0);
    return this.#jobs.start(this.pool.slot(size), async (slot) => {
      const { findings, parts: used } = await slot.examine(sizes, parts);
      for (const { buffer } of used) car.reuse?.(buffer);
      this.#examined(count, size, { findings, from: car });
      await this.linker
        .call("carCheck", [this.run, claims, findings], [claims.buffer, findings.buffer])
        .catch(ofCAR(car));
    });
  }

  #examined(checkpoints: number, bytes: number, batch: Batch): void {
    this.count(checkpoints, bytes);
    this.onBatch?.(batch);
  }

  /** Counts what was examined, or, with numbers below zero, what was not to be. */
  count(checkpoints: number, bytes: number): void {
    this.#checkpoints += checkpoints;
    this.#bytes += bytes;
    if (checkpoints < 0) return;
    this.options.signal?.throwIfAborted();
    this.options.onProgress?.({ checkpoints: this.#checkpoints, bytes: this.#bytes });
  }
}

/** Says which CAR an error is of. */
function ofCAR({ path }: CARSource): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof VerifyError) || error.code !== "malformed-car") throw error;
    const hint = "ask for the file again, or for the checkpoints themselves";
    throw new VerifyError(error.code, error.problem, { path, hint });
  };
}

/** What is under way. Of several failures, that of the earliest job counts, whichever worker was faster. */
export class Jobs {
  #signal: AbortSignal | undefined;
  #running = new Set<Promise<void>>();
  #last = 0;
  #failure: { job: number; error: unknown } | undefined;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  /** Starts a job as soon as it has a slot. */
  async start(slot: Promise<Slot>, job: (slot: Slot) => Promise<void>): Promise<void> {
    const granted = await slot;
    if (this.#failure || this.#signal?.aborted) {
      granted.release();
      this.#signal?.throwIfAborted();
      return this.finish();
    }
    const number = ++this.#last;
    const running = job(granted)
      .catch((error: unknown) => {
        if (!this.#failure || number < this.#failure.job) this.#failure = { job: number, error };
      })
      .finally(() => {
        granted.release();
        this.#running.delete(running);
      });
    this.#running.add(running);
  }

  /** Waits for all jobs. */
  async finish(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure) throw this.#failure.error;
  }
}
