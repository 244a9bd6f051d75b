//! The capabilities, in the world of a test.

use igor_sdk::effects::{ActError, EffectLog, LogError, Stage};
use igor_sdk::findings::{Finding, Outcome};
use igor_sdk::http::{self, Request};
use igor_sdk::node::Migration;
use igor_sdk::testing::{Answer, Node, When, World};
use igor_sdk::{
    clock, decimal, kv, log, node, pricing, rand, state, wallet, x402, Agent, ErrorKind, Next, Time,
};
use std::time::Duration;

#[test]
fn the_same_at_every_run() {
    let observe = || {
        let _world = World::new();
        (clock::now(), clock::now(), rand::bytes::<32>().unwrap())
    };
    let (first, second, random) = observe();
    assert_eq!((first, second, random), observe());
    assert_eq!(second.since(first), Duration::from_millis(1));
    assert_eq!(first.unix_nanos(), 1_640_995_200_000_000_000);
    assert_ne!(random, [0; 32]);
    assert_eq!(
        rand::fill(&mut vec![0; rand::MAX + 1]).unwrap_err().kind(),
        ErrorKind::TooLong
    );
}

#[test]
fn log_and_money() {
    let world = World::new();
    world.set_budget(5);
    world.set_price(7);
    log!("");
    log!("{}", "x".repeat(log::MAX + 1));
    assert_eq!(world.lines(), ["x".repeat(log::MAX)]);
    assert_eq!((wallet::balance(), pricing::price()), (5, 7));
}

#[test]
fn requests() {
    let world = World::new();
    let failed = http::get("https://a.example/").unwrap_err();
    assert_eq!(
        (failed.kind(), failed.to_string().as_str()),
        (ErrorKind::Failed, "http_request: failed")
    );
    world.web(|r| match r.path() {
        "/long" => Answer::new(200, vec![b'x'; 100_000]),
        "/huge" => Answer::new(200, vec![b'x'; http::MAX_BODY + 1]),
        "/500" => Answer::new(500, ""),
        "/404" => Answer::new(404, ""),
        _ => Answer::new(200, format!("{} {} {}", r.method, r.headers, r.text())),
    });
    let answer = Request::post("https://a.example/", "body")
        .header("X-A", "b")
        .header("X-C", "d")
        .send()
        .unwrap();
    assert_eq!(answer.text(), "POST X-A: b\nX-C: d body");
    assert_eq!(
        http::get("https://a.example/long").unwrap().body.len(),
        100_000
    );
    assert_eq!(
        http::get("https://a.example/huge").unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    let small = Request::get("https://a.example/long")
        .room(10)
        .send()
        .unwrap_err();
    assert_eq!(small.kind(), ErrorKind::TooLarge);
    for url in ["", "a.example", "ftp://a.example/", "https:///x"] {
        assert_eq!(
            http::get(url).unwrap_err().kind(),
            ErrorKind::Processing,
            "{}",
            url
        );
    }
    let missing = http::get("https://a.example/404")
        .unwrap()
        .ok()
        .unwrap_err();
    assert_eq!(
        missing.to_string(),
        "http_request: status 404: refused or malformed"
    );
    assert!(!missing.may_have_happened());
    assert!(http::post("https://a.example/500", "")
        .unwrap()
        .ok()
        .unwrap_err()
        .may_have_happened());
    assert_eq!(world.requests().len(), 7);
}

#[test]
fn results_have_names() {
    let world = World::new();
    world.web(|_| Answer::new(200, ""));
    let http_names = [
        (-1, ErrorKind::Failed, true),
        (-2, ErrorKind::TooLong, false),
        (-3, ErrorKind::NotAllowed, false),
        (-4, ErrorKind::Timeout, true),
        (-5, ErrorKind::TooLarge, true),
        (-6, ErrorKind::Processing, false),
        (-7, ErrorKind::Unresolved, true),
        (-8, ErrorKind::NotDelivered, true),
        (-9, ErrorKind::NotSettled, false),
        (-99, ErrorKind::Failed, true),
    ];
    for (code, kind, may) in http_names {
        world.fail(move |_, _| Some((When::Before, code)));
        let e = http::get("https://a.example/").unwrap_err();
        assert_eq!(
            (e.kind(), e.code(), e.may_have_happened()),
            (kind, code, may)
        );
    }
    for (code, kind, may) in [
        (-1, ErrorKind::Failed, false),
        (-4, ErrorKind::OverCap, false),
        (-7, ErrorKind::Unresolved, true),
    ] {
        world.fail(move |_, _| Some((When::Before, code)));
        let e = x402::pay(1, "bob", "").unwrap_err();
        assert_eq!((e.kind(), e.may_have_happened()), (kind, may));
    }
}

#[test]
fn payments() {
    let world = World::new();
    assert_eq!(x402::pay(400_000, "bob", "tea").unwrap(), b"payment 0");
    assert_eq!(wallet::receipts(), 1);
    assert_eq!(wallet::receipt(0).unwrap(), b"payment 0");
    assert_eq!(wallet::receipt(1).unwrap_err().kind(), ErrorKind::Failed);
    assert_eq!(
        x402::pay(600_001, "bob", "").unwrap_err().kind(),
        ErrorKind::Failed
    );
    assert_eq!(
        x402::pay(0, "bob", "").unwrap_err().kind(),
        ErrorKind::Processing
    );
    assert_eq!(
        (world.budget(), world.payments()[0].memo.as_str()),
        (600_000, "tea")
    );
}

#[test]
fn store() {
    let _world = World::new();
    assert_eq!(kv::get("a").unwrap_err().kind(), ErrorKind::NotFound);
    kv::put("a", vec![7; 100_000]).unwrap();
    assert_eq!(kv::get("a").unwrap(), vec![7; 100_000]);
    kv::put("a", "").unwrap();
    assert_eq!(kv::get("a").unwrap(), b"");
    kv::delete("a").unwrap();
    assert_eq!(kv::delete("a").unwrap_err().kind(), ErrorKind::NotFound);
    for i in 0..15u8 {
        kv::put([i], vec![0; kv::MAX_VALUE]).unwrap();
    }
    assert_eq!(
        kv::put("last", vec![0; kv::MAX_VALUE]).unwrap_err().kind(),
        ErrorKind::Full
    );
}

#[test]
fn no_node() {
    let _world = World::new();
    let errors = [
        node::id().unwrap_err(),
        node::peers().unwrap_err(),
        node::offer(0).unwrap_err(),
        node::migrate("did:key:z6Mk").unwrap_err(),
        node::migration().unwrap_err(),
        node::drain_deadline().unwrap_err(),
    ];
    for e in errors {
        assert!(e.to_string().ends_with(": not on a node"), "{}", e);
    }
}

#[test]
fn act() {
    let world = World::new();
    let mut log = EffectLog::default();
    world.web(|_| Answer::new(200, "yes"));
    assert_eq!(
        log.act("a", "", || http::post("https://a.example/", "")?.ok())
            .unwrap()
            .text(),
        "yes"
    );
    assert_eq!(
        log.act("a", "", || Ok(())).unwrap_err(),
        ActError::Log(LogError::Duplicate(Stage::Confirmed))
    );
    for (id, code, stage) in [
        ("lost", -1, Stage::Unresolved),
        ("refused", -3, Stage::Compensated),
    ] {
        world.fail(move |_, _| Some((When::After, code)));
        let e = log
            .act(id, "", || http::post("https://a.example/", ""))
            .unwrap_err();
        assert_eq!(e.may_have_happened(), stage == Stage::Unresolved);
        assert_eq!(log.get(id).unwrap().stage, stage);
    }
    assert_eq!(log.open()[0].id(), "lost");
}

#[test]
fn decimals() {
    let all = [
        (6412345, 2),
        (0, 2),
        (-5, 2),
        (5, 0),
        (i64::MIN, 6),
        (1_000_000, 6),
    ];
    let written: Vec<String> = all.iter().map(|&(n, places)| decimal(n, places)).collect();
    assert_eq!(
        written,
        [
            "64123.45",
            "0.00",
            "-0.05",
            "5",
            "-9223372036854.775808",
            "1.000000"
        ]
    );
}

#[test]
fn on_a_node() {
    let world = World::new();
    let mut here = Node::new("did:key:z6MkHere");
    here.offers = vec![b"one".to_vec(), vec![7; 5000]];
    here.drain = Some(Time::from_unix_nanos(7));
    world.set_node(Some(here));
    assert_eq!(node::id().unwrap(), "did:key:z6MkHere");
    assert_eq!(
        (node::peers().unwrap(), node::offer(1).unwrap()),
        (2, vec![7; 5000])
    );
    assert!(node::offer(2).is_err());
    assert_eq!(node::migration().unwrap(), Migration::None);
    node::migrate("did:key:z6MkThere").unwrap();
    assert_eq!(node::migration().unwrap(), Migration::Asked);
    let mut there = world.node().unwrap();
    assert_eq!(there.wish.as_deref(), Some("did:key:z6MkThere"));
    there.migration = Migration::Moved;
    there.drain = None;
    assert_eq!(
        node::drain_deadline().unwrap(),
        Some(Time::from_unix_nanos(7))
    );
    world.set_node(Some(there));
    assert_eq!(node::migration().unwrap(), Migration::Moved);
    assert_eq!(node::drain_deadline().unwrap(), None);
    world.fail(|call, _| (call == "migrate").then(|| (When::Before, -3)));
    let refused = node::migrate("did:key:z6MkElse").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotAllowed);
}

state! {
    version 1;
    #[derive(Default)]
    struct Buyer {
        log: EffectLog,
    }
}

impl Agent for Buyer {
    fn tick(&mut self) -> Next {
        Next::Idle
    }

    fn observe(&mut self, _: &Finding, _: Option<&igor_sdk::effects::Intent>) -> bool {
        true
    }
}

impl Buyer {
    fn get(&mut self, id: &str) -> Result<http::Response, ActError> {
        self.log
            .act(id, "", || http::get("https://a.example/data")?.ok())
    }
}

/// Of requests that are paid the answers do not come: what was paid happened, what was never paid
/// did not.
#[test]
fn paid_requests() {
    for (code, stage) in [
        (-7, Stage::Unresolved),
        (-8, Stage::Confirmed),
        (-9, Stage::Compensated),
    ] {
        for method in ["GET", "POST"] {
            let world = World::new();
            world.web(|_| Answer::new(404, ""));
            world.fail(move |_, _| Some((When::After, code)));
            let mut buyer = Buyer::default();
            let send = || Request::new(method, "https://a.example/").send();
            assert!(buyer.log.act("a", "", send).is_err());
            assert_eq!(buyer.log.get("a").unwrap().stage, stage, "{}", code);
            assert_eq!(world.effects().len(), 1);
        }
    }
}

/// A tick fails that paid for a GET: the act that makes the same request gets its answer, and pays
/// nothing.
#[test]
fn a_paid_get_is_known_again() {
    for told in [Outcome::Unresolved, Outcome::Ended] {
        let world = World::new();
        world.web(|_| Answer::new(200, "data"));
        world.fail(|_, _| Some((When::After, -7)));
        let mut buyer = Buyer::default();
        http::get("https://a.example/data").unwrap_err(); // in a tick that failed
        world.recover();
        world.tell(&mut buyer, told, 0);
        buyer = world.restart(buyer);
        assert!(buyer.get("a").unwrap_err().may_have_happened());
        assert_eq!(world.requests().len(), 1);
        if told == Outcome::Unresolved {
            world.tell(&mut buyer, Outcome::Confirmed, 0);
            assert!(buyer.log.open().is_empty());
        }
        buyer.get("b").unwrap();
        assert_eq!(world.requests().len(), 2);
    }
}
