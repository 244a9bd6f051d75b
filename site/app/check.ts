// The page's own use of the verifier: a run that keeps what is shown later.

import type { Lies } from "../verify/beside.ts";
import type { Inspection } from "../verify/inspect.ts";
import type { ForkReport } from "../verify/fork.ts";
import type { ChainPayments } from "../verify/receipts.ts";
import { Pool } from "../verify/pool.ts";
import { parseReport, type Report } from "../verify/report.ts";
import type { Options } from "../verify/options.ts";
import { run, type Batch } from "../verify/verify.ts";
import { VerifyError } from "../verify/error.ts";
import { startSize } from "../verify/input.ts";
import type { Item } from "./collect.ts";
import { files } from "./files.ts";
import { blobs, Life } from "./life.ts";
import { maxReceipts, tooLarge, type Paid } from "./payments.ts";
import { unpinned, type Pins } from "./pins.ts";
import { Slices } from "./slices.ts";

/** Findings that are handed to the verifier at once. */
const batchLength = 4096;

const pool = new Pool({ wasm: files.wasm, worker: files.worker });

/** Makes the verifier ready before it is needed. Where that fails, the visitor's own run says why. */
export function prepare(): void {
  pool.linker().catch(() => {});
}

/** A verified history, as the page shows it. */
export interface Checked {
  readonly report: Report;
  readonly life: Life;
  /** What it was verified with, and who named it. */
  readonly pins: Pins;
  /** Whether it can be written as a CAR. */
  readonly saveable: boolean;
  /** Writes it as a CAR. */
  save(): Promise<Blob>;
  /** Writes all of it as a CAR, of which the badge gives the same verdict, also where it is no one path. */
  bundle(): Promise<Blob>;
  inspect(bytes: Uint8Array): Promise<Inspection>;
  relink(row: number, bytes: Uint8Array): Promise<Report>;
}

/** Verifies what is given. What is not pinned is empty. */
export async function check(items: AsyncIterable<Item>, pins: Pins, more: Pick<Options, "signal" | "onProgress">): Promise<Checked> {
  const { did, head, policy, monitor, require } = pins;
  const witness = policy.value === "" ? undefined : { policy: policy.value, require, ...(monitor.value && { monitor: monitor.value }) };
  const options: Options = { ...more, did: did.value, head: head.value, witness };
  const batches: Batch[] = [];
  blobs.clear();
  const input = async function* () {
    for await (const item of items) {
      const { name, bytes } = item;
      if (!("inFolder" in item) && bytes instanceof Blob) blobs.set(name, bytes);
      yield item;
    }
  };
  const { report, path, lies: beside } = await run(
    pool,
    input(),
    options,
    async ({ linker, run, report, lies }) => ({ report, path: await linker.call("path", [run]), lies }),
    // The findings go on to another worker, and out of reach here.
    ({ findings, from }) => batches.push({ findings: findings.slice(), from }),
  );
  const life = await Life.from(batches, new Slices(options.signal));
  return {
    report,
    life,
    pins,
    saveable: path.length > 0,
    save: () => save(life, path),
    bundle: () => save(life, path.length > 0 ? path : life.hashes()),
    inspect: inspectCheckpoint,
    relink: (row, bytes) => relink(life, row, bytes, pins, beside),
  };
}

/** Says which pin cannot be one, of pins that were refused. */
export async function wrongPin(pins: Pins, { problem }: VerifyError): Promise<"did" | "head" | "policy" | "monitor"> {
  if (problem.startsWith("policy")) return "policy";
  if (problem.startsWith("the monitor")) return "monitor";
  return session({ ...pins, head: unpinned.head }, async () => "head" as const).catch(() => "did" as const);
}

/** Says what one checkpoint claims. */
export async function inspectCheckpoint(bytes: Uint8Array): Promise<Inspection> {
  const linker = await pool.linker();
  return JSON.parse(await linker.call("inspect", [bytes])) as Inspection;
}

/** Reads the receipts of payments on chains in a file. */
export async function readReceipts(file: Blob): Promise<Paid> {
  if (file.size > maxReceipts) return { problem: tooLarge(file.size) };
  try {
    const linker = await pool.linker();
    return JSON.parse(await linker.call("receipts", [new Uint8Array(await file.arrayBuffer())])) as ChainPayments;
  } catch (error) {
    return { problem: error instanceof VerifyError ? error.problem : String(error) };
  }
}

/** Says what a file that was given by itself is looked at for beside a history; empty if it is not. */
export async function roleOf(file: File): Promise<string> {
  const linker = await pool.linker();
  return (await linker.call("kind", [file.name, new Uint8Array(await file.slice(0, startSize).arrayBuffer())])).role;
}

/** Says what a fork proof proves. */
export async function readForkProof(file: Blob): Promise<ForkReport> {
  const linker = await pool.linker();
  return JSON.parse(await linker.call("forkProof", [new Uint8Array(await file.arrayBuffer()), ""])) as ForkReport;
}

/** The numbers of this page's own runs; those of verify.ts are above zero. */
let lastRun = 0;

/** Opens an instance of the verifier for a history, and closes it in the end. */
async function session<T>(pins: Pins, f: (linker: Awaited<ReturnType<Pool["linker"]>>, run: number) => Promise<T>): Promise<T> {
  const linker = await pool.linker();
  const run = --lastRun;
  try {
    await linker.call("open", [run, pins.did.value, pins.head.value]);
    return await f(linker, run);
  } finally {
    linker.call("close", [run]).catch(() => {}); // a broken worker holds nothing
  }
}

/** Links the life once more, with another finding in the place of one. */
async function relink(life: Life, row: number, bytes: Uint8Array, pins: Pins, beside: Lies | undefined): Promise<Report> {
  return session(pins, async (linker, run) => {
    const { findings: changed } = await linker.call("examine", [Uint32Array.of(bytes.length), [new Uint8Array(bytes)]]);
    for (let from = 0; from < life.length; from += batchLength) {
      const to = Math.min(from + batchLength, life.length);
      const findings = life.findings(from, to);
      if (row >= from && row < to) findings.set(changed, ((row - from) * findings.length) / (to - from));
      const names = Array.from({ length: to - from }, (_, i) => life.name(from + i));
      await linker.call("add", [run, findings, names], [findings.buffer]);
    }
    return await parseReport(await linker.call("link", [run, pins.did.value, pins.head.value, beside]));
  });
}

async function save(life: Life, path: Uint8Array<ArrayBuffer>): Promise<Blob> {
  const hashSize = 32;
  return session(unpinned, async (linker, run) => {
    const parts: BlobPart[] = [await linker.call("carStart", [run, path.slice(-hashSize)])];
    for (let from = 0; from < path.length; from += batchLength * hashSize) {
      const hashes = path.subarray(from, from + batchLength * hashSize);
      const claims = new Uint8Array((hashes.length / hashSize) * (hashSize + 4));
      const view = new DataView(claims.buffer);
      const blocks: BlobPart[] = [];
      for (let i = 0; i < hashes.length / hashSize; i++) {
        const hash = hashes.subarray(i * hashSize, (i + 1) * hashSize);
        const block = await life.part(hash);
        claims.set(hash, i * (hashSize + 4));
        view.setUint32(i * (hashSize + 4) + hashSize, block.size, true);
        blocks.push(block.part);
      }
      const starts = await linker.call("carBlocks", [run, claims]);
      starts.forEach((start, i) => parts.push(start, blocks[i]!));
    }
    return new Blob(parts, { type: "application/vnd.ipld.car" });
  });
}
