// Sentinel is an agent that guards a treasury: when the balance of an account falls below a floor, it
// moves money there. The machine may die at any moment; no transfer is made twice, and none is forgotten.
//
// What to learn from it: how to act on the outside world with an effect log. The runtime never repeats a
// transfer that it began, and says "unresolved" when a crash took the answer; the agent then asks the
// bank, and knows when to believe that there was none.

import {
  Agent, Decoder, EffectLog, Encoder, Failure, Finding, Intent, Outcome, Response, Result, clock, decimal, http, log, rand, run,
} from "@igor-dev/sdk";
export * from "@igor-dev/sdk/exports";

// The bank.
//
//   GET  /balance       the balance, in cents
//   POST /transfers     the body "ID CENTS DEADLINE": 200 taken, 409 refused, 410 after
//                       the deadline (Unix nanoseconds), from which on it is never taken
//   GET  /transfers/ID  200 taken, 404 not taken
const SERVER = "http://127.0.0.1:8802";

// The id of an intent that is recorded and never begun: it has the order that the next tick sends. So the
// order is in the state before it is sent, and after a tick that failed it is the same again, and known by
// its bytes.
const NEXT = "next";

const FLOOR: i64 = 1000_00; // cents
const TRANSFER: i64 = 500_00;
const VALID: i64 = 2 * clock.SECOND; // from meaning a transfer to its deadline
const MARGIN: i64 = clock.SECOND; // by which the bank's clock may be behind

class Sentinel extends Agent {
  /** Begins the ids of transfers: another sentinel has other ones. */
  name: string = "";
  /** Of transfers that were meant. */
  count: u64 = 0;
  effects: EffectLog = new EffectLog();
  /** Cents, in transfers that certainly happened. */
  moved: i64 = 0;
  void: u64 = 0;

  init(): void {
    const name = rand.bytes(8).value; // no life without a name
    for (let i = 0; i < name.length; i++) this.name += (<u32>name[i]).toString(16).padStart(2, "0");
    log(`guarding a balance of ${decimal(FLOOR, 2)}`);
  }

  tick(): bool {
    const open = this.effects.open();
    for (let i = 0; i < open.length; i++) this.reconcile(open[i]);
    // The balance does not tell whether that money is in it.
    if (this.effects.open().length > 0) return false;
    this.effects.prune(); // the ids are never used again
    if (this.effects.has(NEXT)) {
      this.send();
      return false;
    }

    const answer = checked(http.get(SERVER + "/balance"));
    if (answer.error) {
      log(`no balance: ${answer.error!.toString()}`);
    } else if (I64.parseInt(answer.value.text()) < FLOOR) {
      this.topUp();
      return true;
    }
    return false;
  }

  private topUp(): void {
    this.count++;
    const order = new Order(`${this.name}-${this.count}`, TRANSFER, clock.now() + VALID);
    this.effects.record(NEXT, Uint8Array.wrap(String.UTF8.encode(order.toString())));
  }

  /** Sends the order that was meant. No other intent is left. */
  private send(): void {
    const order = Order.parse(this.effects.all()[0].text());
    this.effects.start(NEXT);
    this.effects.compensate(NEXT);
    this.effects.begin(order.id, order.toString());
    const failure = order.send();
    this.effects.end(order.id, failure);
    if (!failure) {
      this.moved += order.cents;
      log(`moved ${decimal(order.cents, 2)} with ${order.id}`);
    } else if (failure.mayHaveHappened) {
      log(`nobody knows yet whether ${order.id} happened: ${failure.toString()}`);
    } else {
      this.void++;
      log(`nothing moved with ${order.id}: ${failure.toString()}`);
    }
  }

  /** Asks the bank about a transfer that may have happened. */
  private reconcile(intent: Intent): void {
    const order = Order.parse(intent.text());
    // The time comes first: after the deadline the answer cannot change any more.
    const now = clock.now();
    const answer = http.get(`${SERVER}/transfers/${order.id}`);
    if (answer.error) {
      log(`no word on ${order.id}: ${answer.error!.toString()}`);
    } else if (answer.value.status == 200) {
      this.effects.confirm(order.id);
      this.moved += order.cents;
      log(`reconciled ${order.id}: it happened`);
    } else if (answer.value.status == 404 && now > order.deadline + MARGIN) {
      this.effects.compensate(order.id);
      this.void++;
      log(`reconciled ${order.id}: it did not happen, and cannot any more`);
    }
  }

  /** Counts a transfer of which the operator found out what the bank did not say. */
  observe(finding: Finding, intent: Intent | null): bool {
    if (!intent) return false;
    if (finding.outcome == Outcome.Compensated) {
      this.void++;
      log(`told of ${intent.id}: it did not happen`);
    } else {
      this.moved += Order.parse(intent.text()).cents;
      log(`told of ${intent.id}: it happened`);
    }
    return true;
  }

  save(e: Encoder): void {
    e.text(this.name);
    e.u64(this.count);
    e.effects(this.effects);
    e.i64(this.moved);
    e.u64(this.void);
  }

  load(d: Decoder): void {
    this.name = d.text();
    this.count = d.u64();
    this.effects = d.effects();
    this.moved = d.i64();
    this.void = d.u64();
  }
}

/** A transfer that the bank is asked for. */
class Order {
  constructor(readonly id: string, readonly cents: i64, readonly deadline: i64) {}

  static parse(s: string): Order {
    const fields = s.split(" ");
    assert(fields.length == 3, "an order that the agent did not write");
    return new Order(fields[0], I64.parseInt(fields[1]), I64.parseInt(fields[2]));
  }

  toString(): string {
    return `${this.id} ${this.cents} ${this.deadline}`;
  }

  send(): Failure | null {
    // A bank that fails does not say what it has done before.
    return checked(http.post(SERVER + "/transfers", this.toString())).error;
  }
}

function checked(answer: Result<Response>): Result<Response> {
  return answer.ok ? answer.value.ok() : answer;
}

run(new Sentinel());
