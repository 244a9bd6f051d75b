//! The vectors that all SDKs share: ../../testdata/sdk.

use igor_sdk::effects::{ActError, EffectLog, Intent, MAX_FINDINGS, MAX_RESULTS};
use igor_sdk::findings::Finding;
use igor_sdk::state::State;
use igor_sdk::testing::{When, World};
use igor_sdk::{state, x402, Agent, Next, Time};

state! {
    version 1;
    #[derive(Debug)]
    struct Everything {
        a: u64,
        b: i64,
        c: bool,
        d: Time,
        e: String,
        f: Vec<u8>,
        g: Vec<u64>,
        h: EffectLog,
    }
}

/// The lines of a file, in words.
fn vectors(file: &str) -> Vec<Vec<String>> {
    let path = format!("{}/../../testdata/sdk/{}", env!("CARGO_MANIFEST_DIR"), file);
    let text = std::fs::read_to_string(&path).expect(&path);
    let lines = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let lines: Vec<Vec<String>> = lines
        .map(|l| l.split_whitespace().map(String::from).collect())
        .collect();
    assert!(lines.len() >= 10, "{} has {} vectors", file, lines.len());
    lines
}

fn hex(b: &[u8]) -> String {
    let s: String = b.iter().map(|b| format!("{:02x}", b)).collect();
    if s.is_empty() {
        return "-".into();
    }
    s
}

fn unhex(s: &str) -> Vec<u8> {
    let s = s.trim_matches('-');
    (0..s.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap())
        .collect()
}

#[test]
fn states() {
    for v in vectors("state.txt") {
        let bytes = unhex(&v[1]);
        let got = match Everything::load(&bytes) {
            Err(_) => "-".to_string(),
            Ok(s) => {
                assert_eq!(s.save(), bytes, "{}", v[0]);
                let list: Vec<String> = s.g.iter().map(u64::to_string).collect();
                let list = if list.is_empty() {
                    "-".to_string()
                } else {
                    list.join(",")
                };
                let (text, log) = (hex(s.e.as_bytes()), hex(&s.h.to_bytes()));
                format!(
                    "{} {} {} {} {} {} {} {}",
                    s.a,
                    s.b,
                    s.c as u8,
                    s.d.unix_nanos(),
                    text,
                    hex(&s.f),
                    list,
                    log
                )
            }
        };
        assert_eq!(got, v[2..].join(" "), "{}", v[0]);
    }
}

#[test]
fn effects() {
    for v in vectors("effects.txt") {
        let got =
            EffectLog::from_bytes(&unhex(&v[1])).map_or("-".into(), |log| hex(&log.to_bytes()));
        assert_eq!(got, v[2], "{}", v[0]);
        // Every byte changed, and every end cut off, gives a log or an error.
        let bytes = unhex(&v[1]);
        for i in 0..bytes.len() {
            let _ = EffectLog::from_bytes(&bytes[..i]);
            for bit in 0..8 {
                let mut b = bytes.clone();
                b[i] ^= 1 << bit;
                if let Ok(log) = EffectLog::from_bytes(&b) {
                    let saved = log.to_bytes();
                    let again = EffectLog::from_bytes(&saved).unwrap();
                    assert_eq!(again.to_bytes(), saved, "{}", v[0]);
                }
            }
        }
    }
}

/// More than a log can keep.
#[test]
fn finding_limits() {
    let mut log = EffectLog::default();
    let mut tell = |n: usize, result: usize| {
        let mut f = Finding::parse(&[[4, 9].as_slice(), &[0; 64]].concat())
            .unwrap()
            .unwrap();
        f.effect[..8].copy_from_slice(&n.to_le_bytes());
        f.result = vec![0; result];
        log.observe(&f);
    };
    tell(0, MAX_RESULTS);
    tell(1, 1);
    for n in 2..MAX_FINDINGS {
        tell(n, 0);
    }
    tell(5, 0); // known
    assert_eq!(log.kept().count(), MAX_FINDINGS);
    assert!(EffectLog::from_bytes(&log.to_bytes()).is_ok());
}

#[test]
fn transitions() {
    for v in vectors("transitions.txt") {
        let mut log = EffectLog::default();
        for op in &v[1..v.len() - 2] {
            let before = log.to_bytes();
            let refused = op.ends_with('!');
            let f: Vec<&str> = op.trim_end_matches('!').split('/').collect();
            let done = match f[0] {
                "record" => log.record(f[1], f[2]),
                "begin" => log.begin(f[1]),
                "confirm" => log.confirm(f[1]),
                "compensate" => log.compensate(f[1]),
                "prune" => {
                    log.prune();
                    Ok(())
                }
                "load" => {
                    log = EffectLog::from_bytes(&before).unwrap();
                    Ok(())
                }
                _ => panic!("unknown {}", op),
            };
            assert_eq!(done.is_err(), refused, "{}: {}: {:?}", v[0], op, done);
            assert!(
                !refused || log.to_bytes() == before,
                "{}: {} changed the log",
                v[0],
                op
            );
        }
        assert_eq!(hex(&log.to_bytes()), v[v.len() - 1], "{}", v[0]);
    }
}

state! {
    version 1;
    #[derive(Default)]
    struct Logger {
        log: EffectLog,
    }
}

thread_local! {
    static ENDED: std::cell::RefCell<String> = Default::default();
}

impl Agent for Logger {
    fn tick(&mut self) -> Next {
        Next::Idle
    }
    fn observe(&mut self, _: &Finding, intent: Option<&Intent>) -> bool {
        if let Some(i) = intent {
            ENDED.with(|e| *e.borrow_mut() = i.id().into_owned());
        }
        true
    }
}

#[test]
fn findings() {
    for v in vectors("findings.txt") {
        let mut a = Logger::default();
        for (n, word) in v[1..v.len() - 2].iter().enumerate() {
            let before = a.log.to_bytes();
            let refused = word.ends_with('!');
            let op = word.trim_end_matches('!');
            let f: Vec<&str> = op.split('/').collect();
            let world = World::new();
            ENDED.with(|e| *e.borrow_mut() = "-".into());
            let mut want_ended = None;
            let done = match f[0] {
                "act" => {
                    let amount = f[2].parse().unwrap();
                    let live: i32 = f[3].parse().unwrap();
                    world.fail(move |_, _| Some((When::After, live)).filter(|_| live != 0));
                    let done = a.log.act(f[1], "", || x402::pay(amount, "bob", "m"));
                    let paid = world.payments().len();
                    let got = match done {
                        Ok(r) if paid == 0 => {
                            format!("ok:{}", String::from_utf8(r).unwrap().replace(' ', "_"))
                        }
                        Ok(_) => "ok".into(),
                        Err(ActError::Act(e)) => e.code().to_string(),
                        Err(e) => e.to_string(),
                    };
                    assert_eq!(
                        (paid.to_string(), got.as_str()),
                        (f[4].into(), f[5]),
                        "{}: {}",
                        v[0],
                        n
                    );
                    Ok(())
                }
                "tell" => {
                    want_ended = f.get(2);
                    match Finding::parse(&unhex(f[1])) {
                        Err(_) => Err(()),
                        Ok(None) => Ok(()),
                        Ok(Some(f)) => {
                            if let Some(i) = a.log.observe(&f) {
                                a.observe(&f, Some(&i));
                            }
                            Ok(())
                        }
                    }
                }
                "tick" => {
                    want_ended = f.get(1);
                    world.tick(&mut a);
                    Ok(())
                }
                "load" => {
                    a = Logger::load(&a.save()).unwrap();
                    Ok(())
                }
                "record" => a.log.record(f[1], f[2]).map_err(drop),
                "begin" => a.log.begin(f[1]).map_err(drop),
                "confirm" => a.log.confirm(f[1]).map_err(drop),
                "compensate" => a.log.compensate(f[1]).map_err(drop),
                "prune" => {
                    a.log.prune();
                    Ok(())
                }
                _ => panic!("unknown {}", op),
            };
            assert_eq!(done.is_err(), refused, "{}: {}", v[0], n);
            if let (Some(want), false) = (want_ended, refused) {
                ENDED.with(|e| assert_eq!(*e.borrow(), *want, "{}: {}", v[0], n));
            }
            assert!(!refused || a.log.to_bytes() == before, "{}: {}", v[0], n);
        }
        assert_eq!(hex(&a.log.to_bytes()), v[v.len() - 1], "{}", v[0]);
    }
}

/// Every byte of a good state changed, and every end of it cut off, gives an error or a state.
#[test]
fn hostile_states() {
    for v in vectors("state.txt") {
        let bytes = unhex(&v[1]);
        for i in 0..bytes.len() {
            let _ = Everything::load(&bytes[..i]);
            for bit in 0..8 {
                let mut b = bytes.clone();
                b[i] ^= 1 << bit;
                if let Ok(s) = Everything::load(&b) {
                    let saved = s.save();
                    assert_eq!(Everything::load(&saved).unwrap().save(), saved);
                }
            }
        }
    }
}
