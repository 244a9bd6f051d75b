import { pause } from "../verify/platform.ts";

/** How long the page's thread works at a time, in milliseconds. From 50 on, a visitor could notice. */
const longest = 10;

/** Long work on the page's thread, which lets the page handle its events in between. */
export class Slices {
  #signal: AbortSignal | undefined;
  #began = performance.now();

  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  /** Whether it is time for `next`. */
  get due(): boolean {
    return performance.now() - this.#began > longest;
  }

  /** Lets the page handle its events. Throws if the work is not wanted any more. */
  async next(): Promise<void> {
    await pause();
    this.#signal?.throwIfAborted();
    this.#began = performance.now();
  }

  /** Calls f for 0 to n-1. */
  async each(n: number, f: (i: number) => void): Promise<void> {
    const between = 64; // asking the time costs more than many an f
    for (let i = 0; i < n; i++) {
      if (i % between === 0 && this.due) await this.next();
      f(i);
    }
  }

  /** Returns the numbers from 0 to n-1 in order. */
  async sorted(n: number, compare: (a: number, b: number) => number): Promise<Uint32Array> {
    const run = 1024;
    let order = Uint32Array.from({ length: n }, (_, i) => i);
    await this.each(Math.ceil(n / run), (i) => {
      const part = Array.from(order.subarray(i * run, (i + 1) * run));
      order.set(part.sort(compare), i * run);
    });
    let merged = new Uint32Array(n);
    for (let width = run; width < n; width *= 2) {
      for (let start = 0; start < n; start += 2 * width) {
        const [middle, end] = [Math.min(start + width, n), Math.min(start + 2 * width, n)];
        if (middle === end || compare(order[middle - 1]!, order[middle]!) <= 0) {
          merged.set(order.subarray(start, end), start); // most histories come in order
          continue;
        }
        let [left, right] = [start, middle];
        await this.each(end - start, (i) => {
          const fromLeft = right === end || (left < middle && compare(order[left]!, order[right]!) <= 0);
          merged[start + i] = order[fromLeft ? left++ : right++]!;
        });
      }
      [order, merged] = [merged, order];
    }
    return order;
  }
}
