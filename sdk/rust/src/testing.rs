//! A world for an agent's tests: the same at every run, and observed. It needs no WebAssembly.
//!
//! ```
//! use igor_sdk::{http, log, testing::{Answer, World}};
//!
//! let world = World::new();
//! world.web(|_request| Answer::new(200, "42"));
//! log!("the price is {}", http::get("https://api.example.com/price").unwrap().text());
//! assert_eq!(world.lines(), ["the price is 42"]);
//! ```
//!
//! The hostcalls give the results and have the limits of docs/spec/abi.md; what a manifest forbids
//! is not modelled, but for [`World::fail`]. Each test, in a thread of its own, has its own world.

use crate::findings::{self, Outcome};
use crate::node::Migration;
use crate::state::State;
use crate::{Agent, Next, Time};
use core::cell::RefCell;
use core::time::Duration;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::format;
use std::rc::Rc;
use std::string::{String, ToString};
use std::thread_local;
use std::vec::Vec;

/// What the agent under test observes. It ends with the value.
#[derive(Clone)]
pub struct World(Rc<RefCell<Inner>>);

/// A request that the agent made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The URL, as the agent wrote it.
    pub url: String,
    /// Lines `Name: value`.
    pub headers: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The URL without scheme and host.
    pub fn path(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.find('/').map_or("/", |i| &rest[i..])
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the web answers.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// An answer of this status.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status,
            body: body.into(),
        }
    }
}

/// A payment that the agent made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// In microcents.
    pub amount: i64,
    /// Who was paid.
    pub recipient: String,
    /// What for.
    pub memo: String,
}

/// A side effect that the agent made, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// 8 a request, 9 a payment.
    pub kind: u8,
    /// As the hostcall was asked.
    pub request: Vec<u8>,
    /// What the agent got.
    pub returned: i32,
    /// What was written into its buffer.
    pub result: Vec<u8>,
}

/// A node for an agent to live on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its DID.
    pub id: String,
    /// Signed ones, of its peers.
    pub offers: Vec<Vec<u8>>,
    /// When it wants to be empty, if it does.
    pub drain: Option<Time>,
    /// The DID of the node that the agent asked to be moved to.
    pub wish: Option<String>,
    /// What became of that wish, which is asked for at first.
    pub migration: Migration,
}

impl Node {
    /// A node without peers.
    pub fn new(id: &str) -> Node {
        Node {
            id: id.to_string(),
            offers: Vec::new(),
            drain: None,
            wish: None,
            migration: Migration::None,
        }
    }
}

/// When a call that is made to [`fail`](World::fail) does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anything happens.
    Before,
    /// After it happened: the answer is lost.
    After,
}

type Web = Box<dyn FnMut(&Request) -> Answer>;
type Failing = Box<dyn FnMut(&str, &str) -> Option<(When, i32)>>;

struct Inner {
    time: i64,
    step: i64,
    random: u64,
    lines: Vec<String>,
    budget: i64,
    price: i64,
    web: Option<Web>,
    requests: Vec<Request>,
    paid: Vec<Payment>,
    failing: Option<Failing>,
    kv: BTreeMap<Vec<u8>, Vec<u8>>,
    effects: Vec<Effect>,
    node: Option<Node>,
    resuming: bool,
}

thread_local! {
    static CURRENT: RefCell<Option<World>> = RefCell::new(None);
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    /// Makes a world and puts the agents of this thread into it. It begins on 2022-01-01, with a
    /// budget of 1 (1,000,000 microcents), and each look at the clock takes a millisecond.
    pub fn new() -> World {
        let w = World(Rc::new(RefCell::new(Inner {
            time: 1_640_995_200_000_000_000,
            step: 1_000_000,
            random: 0,
            lines: Vec::new(),
            budget: 1_000_000,
            price: 1_000,
            web: None,
            requests: Vec::new(),
            paid: Vec::new(),
            failing: None,
            kv: BTreeMap::new(),
            effects: Vec::new(),
            node: None,
            resuming: false,
        })));
        CURRENT.with(|c| *c.borrow_mut() = Some(w.clone()));
        w
    }

    /// Makes what a checkpoint makes of an agent: its state, loaded by a fresh one.
    ///
    /// # Panics
    ///
    /// If the state does not come back, or not as the same bytes.
    pub fn restart<A: State>(&self, agent: A) -> A {
        let state = agent.save();
        assert_eq!(agent.save(), state, "the same agent has two states");
        self.0.borrow_mut().resuming = true;
        let next = A::load(&state);
        self.0.borrow_mut().resuming = false;
        match next {
            Ok(next) => next,
            Err(e) => panic!("the state cannot be restored: {}", e),
        }
    }

    /// Does what the host does before a tick when there is something to tell: that the side effect
    /// of this index happened ([`Outcome::Confirmed`]) or did not ([`Outcome::Compensated`]), as an
    /// operator found out; or that a tick that failed, of which the agent's state knows nothing,
    /// began it ([`Outcome::Unresolved`]), or made it with what came of it ([`Outcome::Ended`]).
    pub fn tell<A: Agent>(&self, agent: &mut A, outcome: Outcome, effect: usize) {
        let e = self.effects()[effect].clone();
        let number = effect as u64 + 1;
        let mut b = std::vec![outcome as u8, e.kind];
        b.extend_from_slice(&number.to_le_bytes()); // its id
        b.extend_from_slice(&[0; 24]);
        b.extend_from_slice(&number.to_le_bytes());
        b.extend_from_slice(&[0; 4]);
        let (returned, result) = match outcome {
            Outcome::Ended => (e.returned, e.result),
            _ => (0, Vec::new()),
        };
        b.extend_from_slice(&i64::from(returned).to_le_bytes());
        for part in [&e.request[..], &result, b"told by the test"] {
            findings::part(&mut b, part);
        }
        self.0.borrow_mut().resuming = true;
        findings::observe(agent, &b).expect("a finding");
        self.0.borrow_mut().resuming = false;
    }

    /// Does what the host does for a tick: beside the agent's own, what is settled when a tick
    /// begins. It matters after [`tell`](World::tell) alone.
    pub fn tick<A: Agent>(&self, agent: &mut A) -> Next {
        findings::tick(agent)
    }

    /// The side effects that reached the world, and what came of them.
    pub fn effects(&self) -> Vec<Effect> {
        self.0.borrow().effects.clone()
    }

    /// Sets where the agent lives. It begins on no node.
    pub fn set_node(&self, node: Option<Node>) {
        self.0.borrow_mut().node = node;
    }

    /// Where the agent lives.
    pub fn node(&self) -> Option<Node> {
        self.0.borrow().node.clone()
    }

    /// What the clock says next.
    pub fn time(&self) -> Time {
        Time::from_unix_nanos(self.0.borrow().time)
    }

    /// Lets time pass.
    pub fn pass(&self, d: Duration) {
        let later = self.time() + d;
        self.0.borrow_mut().time = later.unix_nanos();
    }

    /// What was logged.
    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().lines.clone()
    }

    /// The budget that is left, in microcents.
    pub fn budget(&self) -> i64 {
        self.0.borrow().budget
    }

    /// Sets the budget.
    pub fn set_budget(&self, microcents: i64) {
        self.0.borrow_mut().budget = microcents;
    }

    /// Sets the price of a second.
    pub fn set_price(&self, microcents: i64) {
        self.0.borrow_mut().price = microcents;
    }

    /// Sets what serves the agent's requests. Without it they fail.
    pub fn web(&self, serve: impl FnMut(&Request) -> Answer + 'static) {
        self.0.borrow_mut().web = Some(Box::new(serve));
    }

    /// The requests that the web served.
    pub fn requests(&self) -> Vec<Request> {
        self.0.borrow().requests.clone()
    }

    /// The payments that were made. The receipt of one is its index in text, `payment 0`.
    pub fn payments(&self) -> Vec<Payment> {
        self.0.borrow().paid.clone()
    }

    /// Makes calls fail. It is asked with the call, `http_request`, `wallet_pay` or `migrate`, and its
    /// URL, recipient or DID, and says when it fails and with which result of docs/spec/abi.md.
    pub fn fail(&self, which: impl FnMut(&str, &str) -> Option<(When, i32)> + 'static) {
        self.0.borrow_mut().failing = Some(Box::new(which));
    }

    /// Lets calls succeed again.
    pub fn recover(&self) {
        self.0.borrow_mut().failing = None;
    }

    /// What failing says of a call. The world is not borrowed meanwhile.
    fn failure(&self, call: &str, target: &str) -> Option<(When, i32)> {
        let mut failing = self.0.borrow_mut().failing.take()?;
        let failure = failing(call, target);
        self.0.borrow_mut().failing.get_or_insert(failing);
        failure
    }
}

fn current() -> World {
    CURRENT
        .with(|c| c.borrow().clone())
        .expect("a hostcall outside of WebAssembly: begin the test with `let world = igor_sdk::testing::World::new();`")
}

/// The hostcalls, as crate::abi has them.
pub(crate) mod calls {
    use super::*;

    const FAILED: i32 = -1;
    const TOO_LONG: i32 = -2;
    const NOT_ALLOWED: i32 = -3;
    const NO_ROOM: i32 = -4; // wallet, kv
    const TOO_LARGE: i32 = -5; // http, x402
    const NOT_FOUND: i32 = -5; // kv
    const PROCESSING: i32 = -6;
    const MAX_STORE: usize = 16 << 20;

    pub fn clock_now() -> i64 {
        let w = current();
        let mut w = w.0.borrow_mut();
        w.time += w.step;
        w.time - w.step
    }

    pub fn rand_bytes(b: &mut [u8]) -> i32 {
        if b.len() > crate::rand::MAX {
            return TOO_LONG;
        }
        let w = current();
        let mut w = w.0.borrow_mut();
        for b in b {
            // splitmix64
            w.random = w.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = w.random;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *b = (z ^ (z >> 31)) as u8;
        }
        0
    }

    pub fn log_emit(line: &[u8]) {
        let line = &line[..line.len().min(crate::log::MAX)];
        current()
            .0
            .borrow_mut()
            .lines
            .push(String::from_utf8_lossy(line).into_owned());
    }

    pub fn wallet_balance() -> i64 {
        current().budget()
    }

    pub fn wallet_receipt_count() -> i32 {
        current().0.borrow().paid.len() as i32
    }

    fn receipt(index: usize) -> Vec<u8> {
        format!("payment {}", index).into_bytes()
    }

    pub fn wallet_receipt(index: u32, b: &mut [u8]) -> i32 {
        if index as usize >= current().0.borrow().paid.len() {
            return FAILED;
        }
        fit(&receipt(index as usize), b)
    }

    pub fn node_price() -> i64 {
        current().0.borrow().price
    }

    pub fn http_request(
        method: &[u8],
        url: &[u8],
        headers: &[u8],
        body: &[u8],
        b: &mut [u8],
    ) -> i32 {
        if method.len() > 32
            || url.len() > 8 << 10
            || headers.len() > 32 << 10
            || body.len() > 1 << 20
        {
            return TOO_LONG;
        }
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let r = Request {
            method: text(method),
            url: text(url),
            headers: text(headers),
            body: body.to_vec(),
        };
        let host = r
            .url
            .strip_prefix("http://")
            .or_else(|| r.url.strip_prefix("https://"))
            .unwrap_or("");
        let token = |s: &str| {
            !s.is_empty()
                && s.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        let well_formed = r
            .headers
            .lines()
            .all(|l| l.is_empty() || l.split_once(':').map_or(false, |(name, _)| token(name)));
        if host.is_empty()
            || host.starts_with('/')
            || !r.url.is_ascii()
            || !token(&r.method)
            || !well_formed
        {
            return PROCESSING;
        }
        let w = current();
        if w.0.borrow().resuming {
            return NOT_ALLOWED;
        }
        let failure = w.failure("http_request", &r.url);
        if let Some((When::Before, code)) = failure {
            return code;
        }
        let mut serve = match w.0.borrow_mut().web.take() {
            Some(serve) => serve,
            None => return FAILED,
        };
        let answer = serve(&r);
        let mut inner = w.0.borrow_mut();
        inner.web.get_or_insert(serve);
        let effect = r.method != "GET" && r.method != "HEAD";
        inner.requests.push(r);
        let returned = match failure {
            Some((When::After, code)) => code,
            _ if answer.body.len() > crate::http::MAX_BODY => {
                put(b, 4 + answer.body.len());
                TOO_LARGE
            }
            _ => sized(&answer.body, b, answer.status.into()),
        };
        // A GET is one if it was paid, and the agent did not get what it paid for.
        if effect || (-9..=-7).contains(&returned) {
            let mut request = Vec::new();
            for part in [method, url, headers, body] {
                findings::part(&mut request, part);
            }
            inner.effects.push(made(8, request, returned, b));
        }
        returned
    }

    /// A side effect that returned with so much in its buffer.
    fn made(kind: u8, request: Vec<u8>, returned: i32, b: &[u8]) -> Effect {
        let result = match returned {
            n if n >= 0 => b[..4 + crate::abi::number(b)].to_vec(),
            _ => Vec::new(),
        };
        Effect {
            kind,
            request,
            returned,
            result,
        }
    }

    pub fn wallet_pay(amount: i64, recipient: &[u8], memo: &[u8], b: &mut [u8]) -> i32 {
        if recipient.len() > 256 || memo.len() > 1 << 10 {
            return TOO_LONG;
        }
        if amount <= 0 {
            return PROCESSING;
        }
        let w = current();
        if recipient.is_empty() || w.0.borrow().resuming {
            return NOT_ALLOWED;
        }
        let mut request = amount.to_le_bytes().to_vec();
        findings::part(&mut request, recipient);
        findings::part(&mut request, memo);
        let recipient = String::from_utf8_lossy(recipient).to_string();
        let failure = w.failure("wallet_pay", &recipient);
        if let Some((When::Before, code)) = failure {
            return code;
        }
        let mut inner = w.0.borrow_mut();
        if amount > inner.budget {
            return FAILED;
        }
        inner.budget -= amount;
        inner.paid.push(Payment {
            amount,
            recipient,
            memo: String::from_utf8_lossy(memo).into_owned(),
        });
        let returned = match failure {
            Some((When::After, code)) => code,
            _ => {
                let receipt = receipt(inner.paid.len() - 1);
                sized(&receipt, b, 4 + receipt.len() as i32)
            }
        };
        inner.effects.push(made(9, request, returned, b));
        returned
    }

    pub fn kv_get(key: &[u8], b: &mut [u8]) -> i32 {
        if key.len() > crate::kv::MAX_KEY {
            return TOO_LONG;
        }
        match current().0.borrow().kv.get(key) {
            Some(value) => fit(value, b),
            None => NOT_FOUND,
        }
    }

    pub fn kv_put(key: &[u8], value: &[u8]) -> i32 {
        if key.len() > crate::kv::MAX_KEY || value.len() > crate::kv::MAX_VALUE {
            return TOO_LONG;
        }
        let w = current();
        let kv = &mut w.0.borrow_mut().kv;
        let others = kv.iter().filter(|(k, _)| k.as_slice() != key);
        let size: usize = others.map(|(k, v)| k.len() + v.len() + 8).sum();
        if size + key.len() + value.len() + 8 > MAX_STORE {
            return PROCESSING;
        }
        kv.insert(key.to_vec(), value.to_vec());
        0
    }

    pub fn kv_delete(key: &[u8]) -> i32 {
        if key.len() > crate::kv::MAX_KEY {
            return TOO_LONG;
        }
        match current().0.borrow_mut().kv.remove(key) {
            Some(_) => 0,
            None => NOT_FOUND,
        }
    }

    /// Asks the node, if there is one.
    fn on_node(f: impl FnOnce(&mut Node) -> i32) -> i32 {
        current().0.borrow_mut().node.as_mut().map_or(FAILED, f)
    }
    pub fn node_id(b: &mut [u8]) -> i32 {
        on_node(|n| fit(n.id.as_bytes(), b))
    }
    pub fn peer_count() -> i32 {
        on_node(|n| n.offers.len() as i32)
    }
    pub fn peer_offer(index: u32, b: &mut [u8]) -> i32 {
        on_node(|n| n.offers.get(index as usize).map_or(FAILED, |o| fit(o, b)))
    }
    pub fn migrate(did: &[u8]) -> i32 {
        if did.len() > 256 {
            return TOO_LONG;
        }
        let did = String::from_utf8_lossy(did).into_owned();
        let w = current();
        if w.0.borrow().node.is_none() {
            return FAILED;
        }
        if w.0.borrow().resuming {
            return NOT_ALLOWED;
        }
        if let Some((_, code)) = w.failure("migrate", &did) {
            return code;
        }
        on_node(|n| {
            n.wish = Some(did);
            n.migration = Migration::Asked;
            0
        })
    }
    pub fn migrate_status() -> i32 {
        on_node(|n| match n.migration {
            Migration::None => 0,
            Migration::Asked => 1,
            Migration::Moved => 2,
        })
    }
    pub fn drain_deadline() -> i64 {
        let w = current();
        let w = w.0.borrow();
        match &w.node {
            None => FAILED.into(),
            Some(n) => n.drain.map_or(0, Time::unix_nanos),
        }
    }

    /// Writes a payload of wallet_receipt or kv_get.
    fn fit(payload: &[u8], b: &mut [u8]) -> i32 {
        if payload.len() > b.len() {
            put(b, payload.len());
            return NO_ROOM;
        }
        b[..payload.len()].copy_from_slice(payload);
        payload.len() as i32
    }

    /// Writes a payload of http_request or wallet_pay.
    fn sized(payload: &[u8], b: &mut [u8], code: i32) -> i32 {
        if 4 + payload.len() > b.len() {
            put(b, 4 + payload.len());
            return TOO_LARGE;
        }
        put(b, payload.len());
        b[4..4 + payload.len()].copy_from_slice(payload);
        code
    }

    fn put(b: &mut [u8], n: usize) {
        if b.len() >= 4 {
            b[..4].copy_from_slice(&(n as u32).to_le_bytes());
        }
    }
}
