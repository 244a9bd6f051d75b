// Lets workers read a large CAR: each one a range of it, of which the page's thread gets what was found. A range is
// taken after those before it, and only if it begins where they end: see range.ts.

import { VerifyError } from "./error.ts";
import type { CARSource } from "./input.ts";
import { maxRangeBlock } from "./pieces.ts";
import type { Channel } from "./pool.ts";
import type { Blocks } from "./range.ts";
import type { History, Jobs } from "./verify.ts";

/**
 * A worker is given so much of a CAR. A smaller range costs more to begin than reading it in the worker saves, and a
 * worker that reads two in turn has more work than with one.
 */
const minRange = 16 << 20;
const maxRange = 128 << 20;

/** A place in a CAR. */
export interface Place {
  at: number;
  /** How many bytes before it the CAR's reader was not told of. */
  passed: number;
}

let lastRange = 0;

/** Reads on in a CAR, from a place where a block begins, to where anything else does, or to the CAR's end. */
export async function readRanges(car: CARSource, place: Place, history: History, jobs: Jobs, failed: (error: unknown) => never): Promise<void> {
  const { linker, pool, run, workers } = history;
  const blob = car.blob!;
  const first = place.at;
  let going = true;
  let before = Promise.resolve(); // until all ranges before are taken
  const total = blob.size - first;
  const size = Math.max(Math.ceil(total / (workers * Math.ceil(total / (workers * maxRange)))), minRange);
  const count = ({ sizes }: Blocks, sign: 1 | -1) => history.count(sign * sizes.length, sign * sizes.reduce((sum, size) => sum + size, 0));
  const take = async (blocks: Blocks) => {
    const { findings } = blocks;
    history.onBatch?.({ findings, from: car });
    place.passed = await linker.call("carTake", [run, place.passed, blocks], [findings.buffer]).catch(failed);
    place.at = blocks.end;
  };
  for (let from = first; from < blob.size && going; from += size) {
    const [to, turn] = [Math.min(from + size, blob.size), before];
    let done = () => {};
    before = new Promise((resolve) => (done = resolve));
    let begun = () => {};
    const begins = new Promise<void>((resolve) => (begun = resolve));
    await jobs.start(pool.slot(maxRangeBlock), async (slot) => {
      let waiting = true;
      void turn.then(() => (waiting = false));
      /** Examines a range, and takes its blocks in their turn, up to where they do not begin where those before end. */
      const examine = async (channel: Channel, from: number, known: boolean) => {
        const held: Blocks[] = [];
        const takeHeld = async () => {
          while (going && held[0]?.begin === place.at) await take(held.shift()!);
          return held.length === 0;
        };
        try {
          for await (const blocks of examined(channel, blob, from, to, known)) {
            held.push(blocks);
            count(blocks, 1);
            if (!waiting && !(await takeHeld())) return;
          }
          await turn;
          await takeHeld();
        } finally {
          for (const blocks of held) count(blocks, -1);
        }
      };
      try {
        const channel = await slot.examiner();
        const examining = examine(channel, from, from === first);
        begun();
        await examining;
        await turn;
        if (going && place.at < to) await examine(channel, place.at, true);
        going &&= place.at >= to;
      } catch (error) {
        going = false;
        throw error;
      } finally {
        begun();
        done();
      }
    });
    await begins; // so that the next one is given to a worker that has less to do
  }
  await before;
}

/** Lets a worker examine a range. What cannot be read ends it: it is read once more in another way, which says why. */
async function* examined(channel: Channel, blob: Blob, from: number, to: number, known: boolean): AsyncGenerator<Blocks> {
  const range = ++lastRange;
  try {
    await channel.call("rangeOpen", [range, blob, from, to, known]);
    for (;;) {
      const blocks = await channel.call("rangeNext", [range]);
      if (blocks.sizes.length === 0) return;
      yield blocks;
    }
  } catch (error) {
    if (!(error instanceof VerifyError) || error.code !== "unreadable") throw error;
  } finally {
    channel.call("rangeClose", [range]).catch(() => {}); // a broken worker holds nothing
  }
}
