//! Probe is what ../README.md describes, on the SDK for Rust.

use igor_sdk::effects::{ActError, EffectLog};
use igor_sdk::{
    agent, clock, http, kv, log, node, pricing, rand, state, wallet, x402, Agent, Error, Next,
};

const WEB: &str = "https://probe.example";

state! {
    version 1;
    #[derive(Default)]
    struct Probe {
        ticks: u64,
        born: String,
        said: String,
        effects: EffectLog,
    }
}

impl Probe {
    fn say(&mut self, what: &str, result: impl ToString) {
        self.said += &format!("{} {}\n", what, result.to_string());
    }

    fn came<T>(&mut self, what: &str, result: Result<T, Error>, good: impl FnOnce(T) -> String) {
        let result = result.map_or_else(|e| e.kind().to_string(), good);
        self.say(what, result);
    }

    fn ok<T>(&mut self, what: &str, result: Result<T, Error>) {
        self.came(what, result, |_| "ok".to_string());
    }
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_string()
}

impl Agent for Probe {
    fn init(&mut self) {
        self.ok("init", http::post(&format!("{}/done", WEB), ""));
        self.born = core::mem::take(&mut self.said);
    }

    fn tick(&mut self) -> Next {
        self.ticks += 1;
        self.said.clear();
        for _ in 0..16 {
            core::mem::drop(vec![self.ticks as u8; 64 << 10]);
        }

        self.say("now", clock::now().unix_nanos() / 1_000_000_000);
        self.came("rand", rand::bytes::<8>(), |b| yes(b != [0; 8]));
        self.ok("rand", rand::fill(&mut vec![0; rand::MAX + 1]));
        log!("probe {}", self.ticks);

        self.say("balance", yes(wallet::balance() > 0));
        self.say("price", pricing::price());
        self.say("receipts", wallet::receipts());
        self.ok("receipt", wallet::receipt(9));
        for (amount, recipient) in [(5, "mallory"), (1001, "bob"), (0, "bob")] {
            self.ok("pay", x402::pay(amount, recipient, "probe"));
        }

        for path in ["/long", "/503", "/late", "/missing"] {
            self.came("get", http::get(&format!("{}{}", WEB, path)), |r| {
                format!("{} {}", r.status, r.body.len())
            });
        }
        self.ok("get", http::get("https://other.example/"));
        self.ok("get", http::get("probe"));

        self.ok("load", kv::get("key"));
        self.ok("store", kv::put("key", vec![0; 20_000]));
        self.came("load", kv::get("key"), |v| v.len().to_string());
        self.ok("store", kv::put(vec![0; kv::MAX_KEY + 1], ""));
        self.ok("delete", kv::delete("key"));
        self.ok("delete", kv::delete("key"));

        self.ok("node", node::id());
        self.ok("peers", node::peers());
        self.ok("offer", node::offer(0));
        self.ok("migrate", node::migrate("did:key:z6Mk"));
        self.ok("migration", node::migration());
        self.ok("drain", node::drain_deadline());

        let open = self.effects.open();
        for intent in &open {
            self.effects.confirm(&intent.id).expect("it is open");
        }
        self.say("open", open.len());
        self.effects.prune();
        for what in ["done", "refused", "broken", "lost"] {
            let id = format!("{}-{}", what, self.ticks);
            let done = self.effects.act(&id, format!("data of {}", what), || {
                http::Request::post(&format!("{}/{}", WEB, what), id.as_str())
                    .header("X-Probe", what)
                    .send()?
                    .ok()
            });
            match done {
                Ok(_) => self.say("act", "ok"),
                Err(ActError::Act(e)) => self.say("act", e.kind()),
                Err(e) => panic!("{}", e),
            }
        }

        if self.ticks % 2 == 0 {
            Next::More
        } else {
            Next::Idle
        }
    }
}

agent!(Probe);
