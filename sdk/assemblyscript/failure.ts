/** What went wrong. */
export enum Kind {
  /** The network, a budget that is too small, or nothing of the kind is there. */
  Failed,
  /** What was given is over a limit. */
  TooLong,
  /** The manifest does not allow it, or it does not work where it was called. */
  NotAllowed,
  /** No answer in time, of http. */
  Timeout,
  /** More than the manifest lets the agent pay. */
  OverCap,
  /** What came back is too large, of http and x402. */
  TooLarge,
  /** The store has no such key. */
  NotFound,
  /** The store is full. */
  Full,
  /** Refused or malformed. */
  Processing,
  /** A side effect that may have happened. */
  Unresolved,
  /** Paid for, and not delivered: it happened, and the receipt is in the wallet. */
  NotDelivered,
  /** A payment that was never made, and never will be. */
  NotSettled,
  /** The agent does not live on a node. */
  NotOnNode,
}

/** A hostcall that failed, or an answer that says so. */
export class Failure {
  constructor(
    readonly call: string,
    /** What the hostcall returned: negative, or the status of a response. */
    readonly code: i32,
    readonly kind: Kind,
  ) {}

  /**
   * Whether a side effect that ended so may have happened all the same: the answer is lost, or was
   * too large. Of NotDelivered it certainly did. Other failures say that it certainly did not.
   */
  get mayHaveHappened(): bool {
    switch (this.kind) {
      case Kind.Unresolved:
      case Kind.NotDelivered:
      case Kind.TooLarge:
      case Kind.Timeout:
        return true;
      case Kind.Failed:
        return this.call == "http_request";
    }
    return false;
  }

  /** The kind, in words. */
  get reason(): string {
    return text(this.kind);
  }

  toString(): string {
    const status = this.code > 0 ? `: status ${this.code}` : "";
    return this.call + status + ": " + this.reason;
  }
}

function text(kind: Kind): string {
  switch (kind) {
    case Kind.TooLong: return "input too long";
    case Kind.NotAllowed: return "not allowed";
    case Kind.Timeout: return "timeout";
    case Kind.OverCap: return "amount over the cap";
    case Kind.TooLarge: return "what came back is too large";
    case Kind.NotFound: return "not found";
    case Kind.Full: return "the store is full";
    case Kind.Processing: return "refused or malformed";
    case Kind.Unresolved: return "unresolved: it may have happened";
    case Kind.NotDelivered: return "paid, not delivered";
    case Kind.NotSettled: return "payment not settled";
    case Kind.NotOnNode: return "not on a node";
  }
  return "failed";
}

/** A value, or why there is none. */
export class Result<T> {
  private constructor(private readonly held: T, readonly error: Failure | null) {}

  static of<T>(value: T): Result<T> {
    return new Result<T>(value, null);
  }

  static failed<T>(call: string, code: i32, kind: Kind): Result<T> {
    const failure = new Failure(call, code, kind);
    if (isReference<T>()) return new Result<T>(changetype<T>(0), failure);
    // @ts-ignore: a number
    return new Result<T>(0, failure);
  }

  /** Whether there is a value. */
  get ok(): bool {
    return this.error === null;
  }

  /** The value. Where there is none, the agent ends with the failure's message. */
  get value(): T {
    const e = this.error;
    if (e) throw new Error(e.toString());
    return this.held;
  }
}
