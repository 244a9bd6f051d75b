/** A queue of which so many at a time go on. */
export class Turns {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(most: number) {
    this.#free = most;
  }

  /** Waits for a turn, and returns what ends it. */
  async take(signal?: AbortSignal): Promise<() => void> {
    if (this.#free > 0) this.#free--;
    else {
      await new Promise<void>((resolve, reject) => {
        const stop = () => (this.#waiting.delete(go), reject(signal!.reason));
        const go = () => (signal?.removeEventListener("abort", stop), resolve()); // with the place of who ended
        this.#waiting.add(go);
        signal?.addEventListener("abort", stop);
      });
    }
    return () => {
      const [next] = this.#waiting;
      if (!next) return void this.#free++;
      this.#waiting.delete(next);
      next();
    };
  }
}
