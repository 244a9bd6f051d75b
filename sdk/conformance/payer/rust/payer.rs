//! Payer is what ../main.go describes, on the SDK for Rust.

use igor_sdk::effects::{EffectLog, Intent};
use igor_sdk::findings::{Finding, Outcome};
use igor_sdk::{agent, state, x402, Agent, Next};

state! {
    version 1;
    #[derive(Default)]
    struct Payer {
        paid: u64,
        tries: u64,
        log: EffectLog,
    }
}

impl Payer {
    fn settle(&mut self) {
        self.paid += 1;
        self.tries = 0;
    }
}

impl Agent for Payer {
    fn tick(&mut self) -> Next {
        if !self.log.open().is_empty() {
            return Next::Idle; // the operator finds out
        }
        self.log.prune();
        let order = self.paid + 1;
        self.tries += 1;
        let id = format!("order {}.{};", order, self.tries);
        let told = self.log.kept().next().is_some();
        let done = self.log.act(&id, "", || x402::pay(5, "bob", &id));
        if (order % 2 == 0 || order % 5 == 3) && self.tries == 1 && !told {
            panic!("this tick fails");
        }
        if done.is_ok() {
            self.settle();
        }
        Next::Idle
    }

    /// Counts what the operator found out. What did not happen is tried again.
    fn observe(&mut self, finding: &Finding, intent: Option<&Intent>) -> bool {
        if intent.is_some() && finding.outcome == Outcome::Confirmed {
            self.settle();
        }
        true
    }
}

agent!(Payer);
