// Hands a verified history from the Verify page to the Embed page that it opened, in memory.

/** What the Embed page asks with: the number of the verdict that opened it. */
interface Question {
  handOver: number;
}

/** Answers with a CAR when the Embed page asks for the history of a verdict. */
export function handOver(history: (verdict: number) => Promise<Blob> | undefined): void {
  addEventListener("message", async ({ origin, source, data }: MessageEvent<Question | undefined>) => {
    if (origin !== location.origin || typeof data?.handOver !== "number") return;
    const car = await history(data.handOver)?.catch(() => undefined); // without it, the samples stay
    if (car) source?.postMessage(car, { targetOrigin: origin });
  });
}

/** Asks the page that opened this one for the history of a verdict. */
export function askFor(verdict: number, given: (car: Blob) => void): void {
  const from = window.opener as Window | null;
  addEventListener("message", ({ origin, source, data }) => {
    if (origin === location.origin && source === from && data instanceof Blob) given(data);
  });
  from?.postMessage({ handOver: verdict } satisfies Question, location.origin);
}
