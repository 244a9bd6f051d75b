/** A queue of which so many at a time go on. */
export class Turns {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(most: number) {
    this.#free = most;
  }

  /** Does some work when it is its turn. */
  async run<Result>(signal: AbortSignal | undefined, work: () => Promise<Result>): Promise<Result> {
    if (this.#free > 0) this.#free--;
    else {
      await new Promise<void>((resolve, reject) => {
        const stop = () => (this.#waiting.delete(go), reject(signal!.reason));
        const go = () => (signal?.removeEventListener("abort", stop), resolve()); // with the place of who ended
        this.#waiting.add(go);
        signal?.addEventListener("abort", stop);
      });
    }
    try {
      signal?.throwIfAborted();
      return await work();
    } finally {
      const [next] = this.#waiting;
      if (next) {
        this.#waiting.delete(next);
        next();
      } else this.#free++;
    }
  }
}
