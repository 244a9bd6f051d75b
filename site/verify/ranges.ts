// Lets workers read a large CAR: each one a range of it, of which the page's thread gets what was found. A range is
// taken after those before it, and only if it begins where they end: see range.ts.

import { VerifyError } from "./error.ts";
import { maxRangeBlock } from "./pieces.ts";
import type { Channel, Slot } from "./pool.ts";
import type { Blocks } from "./range.ts";

/** A worker is given so much of a CAR. A smaller range costs more to begin than reading it in the worker saves. */
const minRange = 16 << 20;
const maxRange = 64 << 20;

/** What a run does for its ranges. */
export interface Run {
  readonly blob: Blob;
  /** How many workers there are. */
  readonly workers: number;
  /** Starts a job as soon as it has a slot of so many bytes. */
  start(bytes: number, job: (slot: Slot) => Promise<void>): Promise<void>;
  /** Counts blocks that were examined, or were counted and are not taken. */
  count(blocks: Blocks, taken: boolean): void;
  /** Takes blocks, which are next in the CAR. */
  take(blocks: Blocks): Promise<void>;
}

let lastRange = 0;

/** Reads blocks of a CAR from a place where one begins. Returns where anything else is, or the CAR's end. */
export async function readRanges(first: number, { blob, workers, start, count, take }: Run): Promise<number> {
  let at = first;
  let going = true;
  let before = Promise.resolve(); // until all ranges before are taken
  const total = blob.size - first;
  const size = Math.max(Math.ceil(total / (workers * Math.ceil(total / (workers * maxRange)))), minRange);
  for (let from = first; from < blob.size && going; from += size) {
    const [to, turn] = [Math.min(from + size, blob.size), before];
    let done = () => {};
    before = new Promise((resolve) => (done = resolve));
    await start(maxRangeBlock, async (slot) => {
      let waiting = true;
      void turn.then(() => (waiting = false));
      /** Examines a range, and takes its blocks in their turn, up to where they do not begin where those before end. */
      const examine = async (channel: Channel, from: number, known: boolean) => {
        const held: Blocks[] = [];
        const takeHeld = async () => {
          while (going && held[0]?.begin === at) {
            const blocks = held.shift()!;
            await take(blocks);
            at = blocks.end;
          }
          return held.length === 0;
        };
        try {
          for await (const blocks of examined(channel, blob, from, to, known)) {
            held.push(blocks);
            count(blocks, true);
            if (!waiting && !(await takeHeld())) return;
          }
          await turn;
          await takeHeld();
        } finally {
          for (const blocks of held) count(blocks, false);
        }
      };
      try {
        const channel = await slot.hold();
        await examine(channel, from, from === first);
        await turn;
        if (going && at < to) await examine(channel, at, true);
        going &&= at >= to;
      } catch (error) {
        going = false;
        throw error;
      } finally {
        done();
      }
    });
  }
  await before;
  return at;
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
