import type { Fetch } from "../verify/api.ts";

/** So long, in milliseconds, an answer that nobody reads is there for others. */
export const grace = 1000;

/** Of a longer answer, none is kept for others. */
const most = 4 << 20;

/** What was answered at an address. Every reader has a copy of its own. */
interface Answer {
  readonly response: Promise<Response>;
  readonly request: AbortController;
  readonly begun: number;
  readers: number;
  /** What the readers to come would read. */
  rest?: ReadableStream<Uint8Array<ArrayBuffer>> | undefined;
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
  const drop = (old: Answer) => answers.get(url.href) === old && answers.delete(url.href);
  let answer = answers.get(url.href);
  if (!answer || answer.begun < since) {
    const request = new AbortController();
    const response = fetch(url, { ...init, cache: "no-cache", signal: request.signal });
    const made: Answer = (answer = { response, request, begun: performance.now(), readers: 0 });
    answers.set(url.href, made);
    // What comes is kept for readers to come, but not a whole long life, or one without an end.
    let came = 0;
    const count = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, out) {
        if ((came += chunk.length) > most) {
          drop(made);
          made.rest?.cancel().catch(() => {});
        }
        out.enqueue(chunk);
      },
    });
    response.then(({ body }) => (made.rest = body?.pipeThrough(count)), () => {});
  }
  const { response, request } = answer;
  response.then(({ ok }) => ok || drop(answer), () => drop(answer)); // a failure is not kept: who tries again asks again
  answer.readers++;
  return {
    response: response.then((answered) => copy(answer, answered)),
    done: () => {
      answer.readers--;
      setTimeout(() => {
        if (answer.readers > 0) return;
        drop(answer);
        request.abort();
      }, grace);
    },
  };
}

/** A copy of an answer. Of what `clone` makes, Chromium reads all that comes, however slowly it is taken. */
function copy(answer: Answer, answered: Response): Response {
  if (!answer.rest) return answered.clone();
  const [rest, body] = answer.rest.tee();
  answer.rest = rest;
  return new Response(body, answered);
}
