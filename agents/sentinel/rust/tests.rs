use super::*;
use igor_sdk::state::State;
use igor_sdk::testing::{Answer, Request, When, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The server. It does nothing twice on its own: who sends a transfer twice has made two.
struct Bank {
    balance: i64,
    taken: BTreeMap<String, u32>,
    status: u16, // of the next POST, if it is not to be taken
}

impl Bank {
    fn new(world: &World) -> Rc<RefCell<Bank>> {
        let bank = Rc::new(RefCell::new(Bank {
            balance: 900_00,
            taken: BTreeMap::new(),
            status: 0,
        }));
        let served = bank.clone();
        world.web(move |r| served.borrow_mut().serve(r));
        bank
    }

    fn serve(&mut self, r: &Request) -> Answer {
        match (r.method.as_str(), r.path()) {
            ("GET", "/balance") => Answer::new(200, format!("{}\n", self.balance)),
            ("GET", path) => {
                let id = path.strip_prefix("/transfers/").expect("a transfer");
                Answer::new(
                    if self.taken.contains_key(id) {
                        200
                    } else {
                        404
                    },
                    "",
                )
            }
            ("POST", "/transfers") => {
                let status = std::mem::take(&mut self.status);
                if status != 0 {
                    return Answer::new(status, "");
                }
                let order = Order::parse(&r.text()).expect("an order");
                *self.taken.entry(order.id).or_default() += 1;
                self.balance += order.cents;
                Answer::new(200, "")
            }
            _ => Answer::new(404, ""),
        }
    }
}

fn born() -> Sentinel {
    let mut s = Sentinel::default();
    s.init();
    s
}

#[test]
fn tops_up() {
    let world = World::new();
    let bank = Bank::new(&world);
    let mut s = born();
    for _ in 0..5 {
        s.tick();
        s = world.restart(s);
    }
    assert_eq!(
        (bank.borrow().balance, s.moved, s.count),
        (1400_00, TRANSFER, 1)
    );
    bank.borrow_mut().balance -= 1000_00;
    for _ in 0..5 {
        s.tick();
    }
    assert_eq!(
        (bank.borrow().balance, s.moved, bank.borrow().taken.len()),
        (1400_00, 3 * TRANSFER, 3)
    );
}

/// Loses the answer to a transfer that happened: the sentinel asks, and does not act again.
#[test]
fn lost() {
    for code in [-7, -4, -1] {
        let world = World::new();
        let bank = Bank::new(&world);
        let mut s = born();
        world.fail(move |_, url| (!url.ends_with("/balance")).then(|| (When::After, code)));
        for _ in 0..3 {
            s.tick();
            s = world.restart(s);
        }
        assert_eq!((s.log.open().len(), s.count), (1, 1), "{}", code);
        world.recover();
        s.tick();
        assert_eq!(
            (bank.borrow().taken.len(), bank.borrow().balance, s.moved),
            (1, 1400_00, TRANSFER),
            "{}",
            code
        );
        assert!(s.log.open().is_empty());
    }
}

/// An operator finds out what the bank does not say: the sentinel counts the transfer, and does not
/// make it again.
#[test]
fn told() {
    for (outcome, moved, void) in [
        (Outcome::Confirmed, TRANSFER, 0),
        (Outcome::Compensated, 0, 1),
    ] {
        let world = World::new();
        let bank = Bank::new(&world);
        let mut s = born();
        world.fail(move |_, url| (!url.ends_with("/balance")).then(|| (When::After, -7)));
        s.tick(); // means it
        s.tick();
        s = world.restart(s);
        world.tell(&mut s, outcome, 0);
        assert_eq!((s.log.open().len(), s.moved, s.void), (0, moved, void));
        assert_eq!(bank.borrow().taken.len(), 1);
        world.restart(s);
    }
}

/// Waits for the deadline of a transfer that the bank does not know, before it makes another.
#[test]
fn never() {
    let world = World::new();
    let bank = Bank::new(&world);
    bank.borrow_mut().status = 500;
    let mut s = born();
    let start = world.time();
    while world.time() < start + VALID {
        s.tick();
        world.pass(Duration::from_millis(100));
    }
    assert_eq!((s.count, s.void, s.log.open().len()), (1, 0, 1));
    world.pass(2 * MARGIN);
    s.tick();
    s.tick();
    assert_eq!(
        (s.count, s.void, s.moved, bank.borrow().balance),
        (2, 1, TRANSFER, 1400_00)
    );
}

#[test]
fn refused() {
    let world = World::new();
    let bank = Bank::new(&world);
    bank.borrow_mut().status = 409;
    let mut s = born();
    s.tick();
    s.tick();
    assert_eq!((s.void, s.moved, s.log.open().len()), (1, 0, 0));
    s.tick();
    s.tick();
    assert_eq!((s.moved, s.count), (TRANSFER, 2));
}

/// The tick fails that made a transfer. The next one makes the same request, whatever the clock
/// says, and it is not sent.
#[test]
fn failed_tick() {
    for told in [Outcome::Ended, Outcome::Unresolved] {
        let world = World::new();
        let bank = Bank::new(&world);
        let mut s = born();
        s.tick();
        let state = State::save(&s);
        s.tick();
        assert_eq!(bank.borrow().taken.len(), 1);
        s = State::load(&state).unwrap(); // which knows nothing of it
        world.pass(Duration::from_secs(1));
        world.tell(&mut s, told, 0);
        for _ in 0..4 {
            s.tick();
            s = world.restart(s);
        }
        assert_eq!(
            (s.moved, s.count, bank.borrow().balance),
            (TRANSFER, 1, 1400_00)
        );
        assert!(bank.borrow().taken.values().all(|n| *n == 1));
    }
}
