//! Sentinel is an agent that guards a treasury: when the balance of an account falls below a
//! floor, it moves money there. The machine may die at any moment; no transfer is made twice, and
//! none is forgotten.
//!
//! What to learn from it: how to act on the outside world with an effect log. The runtime never
//! repeats a transfer that it began, and says "unresolved" when a crash took the answer; the agent
//! then asks the bank, and knows when to believe that there was none.

use core::fmt;
use core::time::Duration;

use igor_sdk::effects::{EffectLog, Intent};
use igor_sdk::findings::{Finding, Outcome};
use igor_sdk::{agent, clock, decimal, http, log, rand, state, Agent, Error, Next, Time};

/// The bank.
///
/// ```text
/// GET  /balance       the balance, in cents
/// POST /transfers     the body "ID CENTS DEADLINE": 200 taken, 409 refused, 410 after
///                     the deadline (Unix nanoseconds), from which on it is never taken
/// GET  /transfers/ID  200 taken, 404 not taken
/// ```
const SERVER: &str = "http://127.0.0.1:8802";

/// The id of an intent that is recorded and never begun: it has the order that the next tick sends.
/// So the order is in the state before it is sent, and after a tick that failed it is the same
/// again, and known by its bytes.
const NEXT: &str = "next";

const FLOOR: i64 = 1000_00; // cents
const TRANSFER: i64 = 500_00;
const VALID: Duration = Duration::from_secs(2); // from meaning a transfer to its deadline
const MARGIN: Duration = Duration::from_secs(1); // by which the bank's clock may be behind

state! {
    version 1;
    #[derive(Debug, Default)]
    struct Sentinel {
        /// Begins the ids of transfers: another sentinel has other ones.
        name: String,
        /// Of transfers that were meant.
        count: u64,
        log: EffectLog,
        /// Cents, in transfers that certainly happened.
        moved: i64,
        void: u64,
    }
}

impl Agent for Sentinel {
    fn init(&mut self) {
        let name = rand::bytes::<8>().expect("no life without a name");
        self.name = name.iter().map(|b| format!("{:02x}", b)).collect();
        log!("guarding a balance of {}", decimal(FLOOR, 2));
    }

    fn tick(&mut self) -> Next {
        for intent in self.log.open() {
            self.reconcile(&intent);
        }
        if !self.log.open().is_empty() {
            return Next::Idle; // the balance does not tell whether that money is in it
        }
        self.log.prune(); // the ids are never used again
        if let Some(meant) = self.log.get(NEXT).cloned() {
            self.send(&meant);
            return Next::Idle;
        }

        match balance() {
            Ok(balance) if balance < FLOOR => return self.top_up(),
            Ok(_) => {}
            Err(e) => log!("no balance: {}", e),
        }
        Next::Idle
    }

    /// Counts a transfer of which the operator found out what the bank did not say.
    fn observe(&mut self, finding: &Finding, intent: Option<&Intent>) -> bool {
        let intent = match intent {
            Some(intent) => intent,
            None => return false,
        };
        if finding.outcome == Outcome::Compensated {
            self.void += 1;
            log!("told of {}: it did not happen", intent.id());
            return true;
        }
        self.moved += Order::parse(&intent.text())
            .expect("the agent wrote it")
            .cents;
        log!("told of {}: it happened", intent.id());
        true
    }
}

impl Sentinel {
    fn top_up(&mut self) -> Next {
        self.count += 1;
        let order = Order {
            id: format!("{}-{}", self.name, self.count),
            cents: TRANSFER,
            deadline: clock::now() + VALID,
        };
        self.log
            .record(NEXT, order.to_string().as_bytes())
            .expect("it was pruned");
        Next::More
    }

    /// Sends the order that was meant.
    fn send(&mut self, meant: &Intent) {
        let order = Order::parse(&meant.text()).expect("the agent wrote it");
        self.log.begin(NEXT).expect("it is recorded");
        self.log.compensate(NEXT).expect("it was begun");
        match self.log.act(&order.id, &meant.data, || order.send()) {
            Ok(_) => {
                self.moved += order.cents;
                log!("moved {} with {}", decimal(order.cents, 2), order.id);
            }
            Err(e) if e.may_have_happened() => {
                log!("nobody knows yet whether {} happened: {}", order.id, e)
            }
            Err(e) => {
                self.void += 1;
                log!("nothing moved with {}: {}", order.id, e);
            }
        }
    }

    /// Asks the bank about a transfer that may have happened.
    fn reconcile(&mut self, intent: &Intent) {
        let order = Order::parse(&intent.text()).expect("the agent wrote it");
        // The time comes first: after the deadline the answer cannot change any more.
        let now = clock::now();
        match http::get(&format!("{}/transfers/{}", SERVER, order.id)) {
            Err(e) => log!("no word on {}: {}", order.id, e),
            Ok(answer) if answer.status == 200 => {
                self.log.confirm(&order.id).expect("it is open");
                self.moved += order.cents;
                log!("reconciled {}: it happened", order.id);
            }
            Ok(answer) if answer.status == 404 && now > order.deadline + MARGIN => {
                self.log.compensate(&order.id).expect("it is open");
                self.void += 1;
                log!(
                    "reconciled {}: it did not happen, and cannot any more",
                    order.id
                );
            }
            Ok(_) => {}
        }
    }
}

/// A transfer that the bank is asked for.
struct Order {
    id: String,
    cents: i64,
    deadline: Time,
}

impl Order {
    fn parse(s: &str) -> Option<Order> {
        let mut fields = s.split(' ');
        let order = Order {
            id: fields.next()?.to_string(),
            cents: fields.next()?.parse().ok()?,
            deadline: Time::from_unix_nanos(fields.next()?.parse().ok()?),
        };
        fields.next().is_none().then(|| order)
    }

    fn send(&self) -> Result<http::Response, Error> {
        // A bank that fails does not say what it has done before.
        http::post(&format!("{}/transfers", SERVER), self.to_string())?.ok()
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}",
            self.id,
            self.cents,
            self.deadline.unix_nanos()
        )
    }
}

/// Why there is no balance.
enum NoBalance {
    Http(Error),
    NotANumber(String),
}

impl From<Error> for NoBalance {
    fn from(e: Error) -> NoBalance {
        NoBalance::Http(e)
    }
}

impl fmt::Display for NoBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoBalance::Http(e) => e.fmt(f),
            NoBalance::NotANumber(body) => write!(f, "not a number: {:?}", body),
        }
    }
}

fn balance() -> Result<i64, NoBalance> {
    let body = http::get(&format!("{}/balance", SERVER))?.ok()?.text();
    body.trim().parse().map_err(|_| NoBalance::NotANumber(body))
}

agent!(Sentinel);

#[cfg(test)]
mod tests;
