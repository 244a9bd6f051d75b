//! Primes is what ../main.go describes, on the SDK for Rust.

use igor_sdk::{agent, state, Agent, Next};

const LIMIT: usize = 100_000;

state! {
    version 1;
    #[derive(Default)]
    struct Primes {
        found: u64,
    }
}

impl Agent for Primes {
    fn tick(&mut self) -> Next {
        let mut composite = vec![false; LIMIT];
        for n in 2..LIMIT {
            if composite[n] {
                continue;
            }
            self.found += 1;
            let mut m = 2 * n;
            while m < LIMIT {
                composite[m] = true;
                m += n;
            }
        }
        Next::Idle
    }
}

agent!(Primes);
