//! What the host finds out about side effects, and tells the agent: docs/spec/abi.md.
//!
//! What a tick did that failed, the effect logs in the state take in by themselves: an
//! [`act`](crate::effects::EffectLog::act) gets its answer from it, instead of doing it twice. What
//! an operator found out, [`Agent::observe`](crate::Agent::observe) hears, which ends the intent.

use crate::digest::{digest, Digest};
use crate::effects::{EffectLog, Intent};
use crate::{Agent, Next};
use alloc::string::String;
use alloc::vec::Vec;

/// What a [`Finding`] says of a side effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It happened: the operator found out.
    Confirmed = 1,
    /// It did not happen, or was undone: the operator found out.
    Compensated = 2,
    /// A tick that failed began it, and it may have happened.
    Unresolved = 3,
    /// A tick that failed made it, and this is what came of it.
    Ended = 4,
}

/// What the host tells of a side effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it says.
    pub outcome: Outcome,
    /// 8 a request, 9 a payment.
    pub kind: u8,
    /// The effect's id.
    pub effect: [u8; 32],
    /// The tick that caused it.
    pub tick: u64,
    /// Its number among those of the tick.
    pub ordinal: u32,
    /// What the hostcall returned, of one that ended.
    pub returned: i64,
    /// As the hostcall was asked.
    pub request: Vec<u8>,
    /// What the hostcall wrote, of one that ended.
    pub result: Vec<u8>,
    /// The operator's.
    pub note: String,
}

/// Bytes that are no finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Finding {
    /// Reads what `agent_observe` gets: nothing, if its outcome is one that is not known.
    pub fn parse(b: &[u8]) -> Result<Option<Finding>, Malformed> {
        const HEAD: usize = 54;
        if b.len() < HEAD {
            return Err(Malformed);
        }
        let (head, mut rest) = b.split_at(HEAD);
        let mut part = || {
            let (n, b) = (crate::abi::number(rest.get(..4)?), &rest[4..]);
            let part = b.get(..n)?;
            rest = &b[n..];
            Some(part)
        };
        let (request, result, note) = match (part(), part(), part()) {
            (Some(a), Some(b), Some(c)) => (a, b, c),
            _ => return Err(Malformed),
        };
        if !rest.is_empty() {
            return Err(Malformed);
        }
        let mut effect = [0; 32];
        effect.copy_from_slice(&head[2..34]);
        let long = |at: usize| {
            let mut b = [0; 8];
            b.copy_from_slice(&head[at..at + 8]);
            u64::from_le_bytes(b)
        };
        Ok(Some(Finding {
            outcome: match head[0] {
                1 => Outcome::Confirmed,
                2 => Outcome::Compensated,
                3 => Outcome::Unresolved,
                4 => Outcome::Ended,
                _ => return Ok(None),
            },
            kind: head[1],
            effect,
            tick: long(34),
            ordinal: crate::abi::number(&head[42..]) as u32,
            returned: long(46) as i64,
            request: request.to_vec(),
            result: result.to_vec(),
            note: String::from_utf8_lossy(note).into_owned(),
        }))
    }

    /// One of which the request was made after it was known.
    fn settled() -> Finding {
        Finding {
            outcome: Outcome::Confirmed,
            kind: 0,
            effect: [0; 32],
            tick: 0,
            ordinal: 0,
            returned: 0,
            request: Vec::new(),
            result: Vec::new(),
            note: String::new(),
        }
    }
}

/// A finding of a request that the log has no intent of: the act that makes it next is answered
/// from it.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub outcome: Outcome, // Confirmed was Unresolved before
    pub effect: [u8; 32],
    pub digest: Digest,
    pub returned: i64,
    pub result: Vec<u8>,
}

/// Names a request.
pub(crate) fn request_digest(kind: u8, request: &[u8]) -> Digest {
    let mut b = Vec::with_capacity(1 + request.len());
    b.push(kind);
    b.extend_from_slice(request);
    digest(&b)
}

/// The request that an act made, the newest one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub digest: Digest,
    /// It happened, as was found out before it was made again: the agent hears of it at the start
    /// of the next tick.
    pub confirmed: bool,
}

/// The act under way: what its log has kept, and what it asked.
pub(crate) struct Acting {
    pub kept: Vec<Kept>,
    pub asked: Option<Asked>,
}

#[cfg(target_arch = "wasm32")]
mod current {
    use super::Acting;
    use core::cell::UnsafeCell;

    struct Current(UnsafeCell<Option<Acting>>);

    // WebAssembly has one thread.
    unsafe impl Sync for Current {}

    static CURRENT: Current = Current(UnsafeCell::new(None));

    /// No other reference to it lives meanwhile: f does not call back.
    pub(super) fn with<T>(f: impl FnOnce(&mut Option<Acting>) -> T) -> T {
        f(unsafe { &mut *CURRENT.0.get() })
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod current {
    use super::Acting;
    use core::cell::RefCell;

    std::thread_local! {
        static CURRENT: RefCell<Option<Acting>> = RefCell::new(None);
    }

    pub(super) fn with<T>(f: impl FnOnce(&mut Option<Acting>) -> T) -> T {
        CURRENT.with(|c| f(&mut c.borrow_mut()))
    }
}

/// Sets the act under way, and returns the one before.
pub(crate) fn replace(acting: Option<Acting>) -> Option<Acting> {
    current::with(|c| core::mem::replace(c, acting))
}

/// Makes a call, or has it answered by what is known of it. If an act makes it, its intent has the
/// request from now on. A `GET` is a side effect only if it was paid, which shows when nobody knows
/// what became of that: `sure` is false.
pub(crate) fn side_effect(
    kind: u8,
    sure: bool,
    request: impl Fn() -> Vec<u8>,
    b: &mut [u8],
    call: impl FnOnce(&mut [u8]) -> i32,
) -> i32 {
    const UNRESOLVED: i32 = -7;
    const TOO_LARGE: i32 = -5;
    let room = b.len();
    let kept = current::with(|c| {
        let a = c.as_mut()?;
        if !sure && a.kept.is_empty() {
            return None;
        }
        let digest = request_digest(kind, &request());
        let known = a.kept.iter().position(|k| k.digest == digest);
        let kept = known.map(|i| {
            if !sure && a.kept[i].result.len() > room {
                return a.kept[i].clone(); // it is asked for again, with more room
            }
            a.kept.remove(i)
        });
        let known = |o| matches!(&kept, Some(k) if k.outcome == o);
        let confirmed = known(Outcome::Confirmed);
        if sure || confirmed || known(Outcome::Unresolved) {
            a.asked = Some(Asked { digest, confirmed });
        }
        kept
    });
    match kept {
        None => {
            let code = call(b);
            if !sure && code == UNRESOLVED {
                current::with(|c| {
                    if let Some(a) = c {
                        a.asked = Some(Asked {
                            digest: request_digest(kind, &request()),
                            confirmed: false,
                        });
                    }
                });
            }
            code
        }
        Some(k) if k.outcome != Outcome::Ended => UNRESOLVED,
        Some(k) if k.result.len() > b.len() => {
            if b.len() >= 4 {
                b[..4].copy_from_slice(&(k.result.len() as u32).to_le_bytes());
            }
            TOO_LARGE
        }
        Some(k) => {
            b[..k.result.len()].copy_from_slice(&k.result);
            k.returned as i32
        }
    }
}

/// Appends a part of a request, with its length.
pub(crate) fn part(b: &mut Vec<u8>, part: &[u8]) {
    b.extend_from_slice(&(part.len() as u32).to_le_bytes());
    b.extend_from_slice(part);
}

/// Does one tick of an agent.
pub(crate) fn tick<A: Agent>(agent: &mut A) -> Next {
    replace(None);
    let mut settled = Vec::new();
    agent.effects(&mut |log: &mut EffectLog| {
        if log.has_requests() {
            log.settle(&mut settled);
        }
    });
    for intent in &settled {
        if agent.observe(&Finding::settled(), Some(intent)) {
            let mut done = false;
            agent.effects(&mut |log: &mut EffectLog| {
                done = done || log.confirm(&intent.id).is_ok();
            });
        }
    }
    agent.tick()
}

/// Tells an agent what became of a side effect.
pub(crate) fn observe<A: Agent>(agent: &mut A, b: &[u8]) -> Result<(), Malformed> {
    let finding = match Finding::parse(b)? {
        Some(f) => f,
        None => return Ok(()),
    };
    let mut intent: Option<Intent> = None;
    agent.effects(&mut |log: &mut EffectLog| match log.intent_of(&finding) {
        None => {
            log.observe(&finding);
        }
        found if intent.is_none() => intent = found,
        _ => (),
    });
    if agent.observe(&finding, intent.as_ref()) && intent.is_some() {
        agent.effects(&mut |log: &mut EffectLog| {
            if intent.is_some() && log.intent_of(&finding) == intent {
                log.observe(&finding);
                intent = None;
            }
        });
    }
    Ok(())
}
