import * as abi from "./abi";
import { common } from "./capabilities";
import { Kind, Result } from "./failure";
import { asked, known } from "./findings";

// @ts-ignore: decorator
@inline const MAX_BODY: i32 = 1 << 20;
// @ts-ignore: decorator
@inline const CALL = "http_request";

/**
 * A request. One that is neither GET nor HEAD is a side effect: see EffectLog. So is one that the manifest
 * lets be paid (x402), of any method; give it the room that its answer needs, since to ask again is to pay
 * again.
 */
export class Request {
  private headers: string = "";
  private content: Uint8Array = new Uint8Array(0);

  /** How large the response's body may be. 0: a GET or HEAD gets what it needs, any other the most. */
  room: i32 = 0;

  constructor(readonly method: string, readonly url: string) {}

  /** Adds a header. */
  header(name: string, value: string): this {
    this.headers += (this.headers.length ? "\n" : "") + name + ": " + value;
    return this;
  }

  /** Sets the body. */
  body(content: Uint8Array): this {
    this.content = content;
    return this;
  }

  /** Sets the body. */
  text(content: string): this {
    return this.body(Uint8Array.wrap(abi.utf8(content)));
  }

  send(): Result<Response> {
    const effect = this.method != "GET" && this.method != "HEAD";
    const method = abi.utf8(this.method);
    const url = abi.utf8(this.url);
    const headers = abi.utf8(this.headers);
    let grow = this.room == 0 && !effect;
    let room = this.room ? this.room : grow ? 16 << 10 : MAX_BODY;
    while (true) {
      const parts = [method, url, headers, buffer(this.content)];
      const answer = known(8, effect, new Uint8Array(0), parts, abi.SIZE + room);
      const b = answer ? answer.buffer : new ArrayBuffer(abi.SIZE + room);
      const status = answer
        ? answer.returned
        : abi.http_request(
            abi.at(method), method.byteLength, abi.at(url), url.byteLength, abi.at(headers), headers.byteLength,
            this.content.dataStart, this.content.length, abi.at(b), b.byteLength,
          );
      if (!effect && status == -7) asked(8, parts);
      if (status >= 0) {
        const body = abi.sized(b);
        if (!body) return Result.failed<Response>(CALL, -6, Kind.Processing);
        return Result.of(new Response(status, body, effect));
      }
      const needed = status == -5 ? abi.number(b) : 0;
      if (!grow || needed <= u32(abi.SIZE + room) || needed > u32(abi.SIZE + MAX_BODY)) {
        return Result.failed<Response>(CALL, status, kind(status));
      }
      room = needed - abi.SIZE;
      grow = false;
    }
  }
}

function buffer(b: Uint8Array): ArrayBuffer {
  return b.buffer.slice(b.byteOffset, b.byteOffset + b.length);
}

function kind(code: i32): Kind {
  if (code == -4) return Kind.Timeout;
  if (code == -5) return Kind.TooLarge;
  if (code == -8) return Kind.NotDelivered;
  if (code == -9) return Kind.NotSettled;
  return common(code);
}

/** What came back, whatever its status. */
export class Response {
  constructor(readonly status: i32, readonly body: Uint8Array, private readonly effect: bool) {}

  /** The body as text. */
  text(): string {
    return String.UTF8.decodeUnsafe(this.body.dataStart, this.body.length);
  }

  /**
   * The response, if its status is one of success (2xx). It fits EffectLog.end: what a server refuses
   * (4xx) did not happen, and after any other status, as of a server that failed midway, it may have.
   */
  ok(): Result<Response> {
    const s = this.status;
    if (s >= 200 && s < 300) return Result.of<Response>(this);
    // 408 is what a proxy sends after the fact, too.
    if (s >= 400 && s < 500 && s != 408) return Result.failed<Response>(CALL, s, Kind.Processing);
    return Result.failed<Response>(CALL, s, this.effect ? Kind.Unresolved : Kind.Failed);
  }
}

/** Requests to the hosts that the manifest names. */
export namespace http {
  /** Sends a GET. */
  export function get(url: string): Result<Response> {
    return new Request("GET", url).send();
  }

  /** Sends a POST, which is a side effect. */
  export function post(url: string, body: string): Result<Response> {
    return new Request("POST", url).text(body).send();
  }
}
