import type { Fetch } from "../verify/api.ts";

/** So long, in milliseconds, an answer that nobody reads is there for others. */
export const grace = 1000;

/** What was answered at an address. Every reader has a copy of its own. */
interface Answer {
  readonly response: Promise<Response>;
  readonly request: AbortController;
  readonly begun: number;
  readers: number;
}

const answers = new Map<string, Answer>();

/**
 * Asks an address once for all the badges that want it at about the same time. The browser's cache is
 * asked too, but not before the host said, by ETag or date, that what is in there is still so.
 *
 * @param since what was asked for before this, in the milliseconds of `performance.now`, is too old
 * @returns the answer, and what says that it is read no more
 */
export function ask(url: URL, init: Parameters<Fetch>[1], since: number): { response: Promise<Response>; done: () => void } {
  let answer = answers.get(url.href);
  if (!answer || answer.begun < since) {
    const request = new AbortController();
    const response = fetch(url, { ...init, cache: "no-cache", signal: request.signal });
    answers.set(url.href, (answer = { response, request, begun: performance.now(), readers: 0 }));
  }
  const { response, request } = answer;
  const drop = () => answers.get(url.href) === answer && answers.delete(url.href);
  response.then(({ ok }) => ok || drop(), drop); // a failure is not kept: who tries again asks again
  answer.readers++;
  return {
    response: response.then((answered) => answered.clone()),
    done: () => {
      answer.readers--;
      setTimeout(() => {
        if (answer.readers > 0) return;
        drop();
        request.abort();
      }, grace);
    },
  };
}
