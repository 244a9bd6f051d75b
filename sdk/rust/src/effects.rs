//! A log of the agent's side effects: which were meant, which may have happened, which are
//! settled. Its rules and its form are those of docs/spec/effects.md.

use crate::findings::{self, Asked, Finding, Kept, Outcome};
use crate::{Error as HostError, ErrorKind};
use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The most intents in a log.
pub const MAX_INTENTS: usize = 1 << 16;
/// The most bytes of an id, which has one at least.
pub const MAX_ID: usize = 256;
/// The most bytes of an intent's data.
pub const MAX_DATA: usize = 2 << 20;
/// The most bytes of a whole log.
pub const MAX_SIZE: usize = 16 << 20;

/// The most findings that a log keeps.
pub const MAX_FINDINGS: usize = 1 << 10;
/// The most bytes of the answers in them.
pub const MAX_RESULTS: usize = 2 << 20;

const COUNT: usize = 4;
const OVERHEAD: usize = 1 + 4 + 4; // state, id length, data length
/// Stands where the count of intents would, if more is known of them.
const EXTENDED: usize = 0xffff_ffff;
const ASKED: usize = 4 + 1 + 32;
const KEPT: usize = 1 + 32 + 32 + 8 + 4;

/// Where an intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Meant; the act has not begun.
    Recorded = 1,
    /// The act may be under way, or done.
    InFlight = 2,
    /// The act happened. Final.
    Confirmed = 3,
    /// Was in flight when it was saved: the outcome is not known.
    Unresolved = 4,
    /// The act did not happen, or was undone. Final.
    Compensated = 5,
}

impl Stage {
    /// Whether that is final.
    pub fn is_finished(self) -> bool {
        matches!(self, Stage::Confirmed | Stage::Compensated)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Recorded => "recorded",
            Stage::InFlight => "in-flight",
            Stage::Confirmed => "confirmed",
            Stage::Unresolved => "unresolved",
            Stage::Compensated => "compensated",
        })
    }
}

/// One act, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Names the act for ever.
    pub id: Vec<u8>,
    /// Says what the act is.
    pub data: Vec<u8>,
    /// Where it stands.
    pub stage: Stage,
}

impl Intent {
    /// The id as text.
    pub fn id(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.id)
    }

    /// The data as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.data)
    }

    fn is_open(&self) -> bool {
        matches!(self.stage, Stage::InFlight | Stage::Unresolved)
    }

    fn size(&self) -> usize {
        OVERHEAD + self.id.len() + self.data.len()
    }
}

/// What a log refused. It is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogError {
    /// The log has no such intent: record it first.
    Unknown,
    /// The log has it already: a new act needs a new id.
    Duplicate(Stage),
    /// Not from this stage.
    Transition(Stage),
    /// The id is empty, or over [`MAX_ID`].
    Id,
    /// The data are over [`MAX_DATA`]: record a reference to them.
    Data,
    /// [`MAX_INTENTS`] or [`MAX_SIZE`] is reached: prune the finished ones.
    Full,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogError::Unknown => f.write_str("effects: the log does not hold it; record it first"),
            LogError::Duplicate(s) => write!(
                f,
                "effects: the log holds it already, {}; a new act needs a new id",
                s
            ),
            LogError::Transition(s) => {
                let next = match s {
                    Stage::Recorded => "begin it first",
                    Stage::InFlight | Stage::Unresolved => {
                        "find out whether the act happened, then confirm or compensate it"
                    }
                    Stage::Confirmed | Stage::Compensated => {
                        "that is final, a new act needs a new intent"
                    }
                };
                write!(f, "effects: it is {}; {}", s, next)
            }
            LogError::Id => write!(f, "effects: an id has 1 to {} bytes", MAX_ID),
            LogError::Data => write!(
                f,
                "effects: data has at most {} bytes; record a reference to it",
                MAX_DATA
            ),
            LogError::Full => f.write_str("effects: the log is full; prune the finished intents"),
        }
    }
}

/// Why bytes are not a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where in the bytes.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "effects: malformed effect log: at byte {}: {}",
            self.at, self.problem
        )
    }
}

/// Why an [`act`](EffectLog::act) did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActError {
    /// The log refused it, and nothing was done.
    Log(LogError),
    /// The act failed.
    Act(HostError),
}

impl ActError {
    /// Whether the act may have happened all the same.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, ActError::Act(e) if e.may_have_happened())
    }
}

impl fmt::Display for ActError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ActError::Log(e) => e.fmt(f),
            ActError::Act(e) => e.fmt(f),
        }
    }
}

impl From<LogError> for ActError {
    fn from(e: LogError) -> ActError {
        ActError::Log(e)
    }
}

#[cfg(feature = "std")]
mod std_errors {
    impl std::error::Error for super::LogError {}
    impl std::error::Error for super::Malformed {}
    impl std::error::Error for super::ActError {}
}

/// A log of intents. It belongs into the agent's state. Loaded, what was in flight is unresolved.
///
/// ```no_run
/// # use igor_sdk::{effects::EffectLog, http};
/// # let mut log = EffectLog::default();
/// let done = log.act("order-7", "2 apples", || http::post("https://orders.example.com/", "2 apples")?.ok());
/// if let Err(e) = done {
///     if e.may_have_happened() {
///         // Nobody knows. It stays in log.open() until the agent has asked, in a later tick.
///     }
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct EffectLog {
    intents: Vec<Intent>, // in the order of recording
    index: BTreeMap<Vec<u8>, usize>,
    size: usize, // of the wire form of the intents, without the count
    requests: BTreeMap<Vec<u8>, Asked>, // by the id of the intent; those of open ones count
    kept: Vec<Kept>,
}

impl EffectLog {
    /// Records the intent of a side effect, does it, and notes how it went, in one tick. An id
    /// that the log has is an error, and nothing is done.
    ///
    /// After an error that [may have happened](ActError::may_have_happened) the intent is
    /// unresolved: find out in a later tick, see [`open`](EffectLog::open). After any other error
    /// it is compensated, and the act can be tried again under another id. What was paid and
    /// [not delivered](crate::ErrorKind::NotDelivered) happened: the intent is confirmed, and the
    /// error returned.
    ///
    /// An act makes one request. If it makes several, the newest is the one that the host's
    /// [findings](crate::findings) are about.
    pub fn act<T>(
        &mut self,
        id: impl AsRef<[u8]>,
        data: impl AsRef<[u8]>,
        act: impl FnOnce() -> Result<T, HostError>,
    ) -> Result<T, ActError> {
        let id = id.as_ref();
        self.record(id, data)?;
        self.begin(id)?;
        let mine = findings::Acting {
            kept: core::mem::take(&mut self.kept),
            asked: None,
        };
        let before = findings::replace(Some(mine));
        let done = act();
        if let Some(mine) = findings::replace(before) {
            self.kept = mine.kept;
            if let Some(asked) = mine.asked {
                self.requests.insert(id.to_vec(), asked);
            }
        }
        match done {
            Ok(v) => {
                self.confirm(id)?;
                Ok(v)
            }
            Err(e) => {
                if e.kind() == ErrorKind::NotDelivered {
                    self.confirm(id)?;
                } else if e.may_have_happened() {
                    // Loaded, they would be unresolved. It has to be so at once: the state must
                    // not depend on where in the life the agent was restored.
                    for i in self
                        .intents
                        .iter_mut()
                        .filter(|i| i.stage == Stage::InFlight)
                    {
                        i.stage = Stage::Unresolved;
                    }
                } else {
                    self.compensate(id)?;
                }
                Err(ActError::Act(e))
            }
        }
    }

    /// Takes in what the host tells of a side effect, and returns the intent that it ended. It is
    /// called for each log that is in the state.
    ///
    /// What the operator found out ends the open intent whose act made that request, the oldest
    /// if several did. What a tick did that failed, of which the state knows nothing, is kept: an
    /// [`act`](EffectLog::act) that makes the same request gets the answer from it, once, and
    /// nothing is sent.
    pub fn observe(&mut self, f: &Finding) -> Option<Intent> {
        let known = self.kept.iter().position(|k| k.effect == f.effect);
        match (f.outcome, known) {
            (Outcome::Unresolved, None) | (Outcome::Ended, None) => self.keep(f),
            (Outcome::Confirmed, Some(n)) => {
                if self.kept[n].outcome == Outcome::Unresolved {
                    self.kept[n].outcome = Outcome::Confirmed;
                }
            }
            (Outcome::Compensated, Some(n)) => {
                self.kept.remove(n);
            }
            (Outcome::Confirmed, None) | (Outcome::Compensated, None) => {
                let n = self.about(f)?;
                let intent = &mut self.intents[n];
                intent.stage = match f.outcome {
                    Outcome::Confirmed => Stage::Confirmed,
                    _ => Stage::Compensated,
                };
                return Some(intent.clone());
            }
            _ => (),
        }
        None
    }

    /// Where the intent is that a finding ends.
    fn about(&self, f: &Finding) -> Option<usize> {
        let found_out = matches!(f.outcome, Outcome::Confirmed | Outcome::Compensated);
        if !found_out || self.kept.iter().any(|k| k.effect == f.effect) {
            return None;
        }
        let digest = findings::request_digest(f.kind, &f.request);
        let asked = |i: &Intent| matches!(self.requests.get(&i.id), Some(r) if r.digest == digest);
        self.intents.iter().position(|i| i.is_open() && asked(i))
    }

    /// The intent that a finding ends.
    pub(crate) fn intent_of(&self, f: &Finding) -> Option<Intent> {
        self.about(f).map(|n| self.intents[n].clone())
    }

    fn keep(&mut self, f: &Finding) {
        assert!(
            self.kept.len() < MAX_FINDINGS,
            "the effect log has 1024 findings of ticks that failed, the limit: look at the requests, or forget them"
        );
        let mut kept = Kept {
            outcome: f.outcome,
            effect: f.effect,
            digest: findings::request_digest(f.kind, &f.request),
            returned: 0,
            result: Vec::new(),
        };
        if f.outcome == Outcome::Ended {
            let size: usize = self.kept.iter().map(|k| k.result.len()).sum();
            if size + f.result.len() > MAX_RESULTS {
                kept.outcome = Outcome::Unresolved; // that it may have happened must not be lost
            } else {
                kept.returned = f.returned;
                kept.result = f.result.clone();
            }
        }
        self.kept.push(kept);
    }

    /// The ids of the effects of failed ticks whose requests no act has made again yet.
    pub fn kept(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.kept.iter().map(|k| &k.effect)
    }

    /// Drops what was kept of an effect: the same request is sent again.
    pub fn forget(&mut self, effect: &[u8; 32]) {
        self.kept.retain(|k| k.effect != *effect);
    }

    pub(crate) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// The intents that are known to have happened since before their requests were made. They are
    /// told of once.
    pub(crate) fn settle(&mut self, settled: &mut Vec<Intent>) {
        for i in self.intents.iter().filter(|i| i.is_open()) {
            match self.requests.get_mut(&i.id) {
                Some(r) if r.confirmed => r.confirmed = false,
                _ => continue,
            }
            settled.push(i.clone());
        }
    }

    /// The intents whose acts may have happened. Ask the outside world about each at the start of
    /// a tick, then [`confirm`](EffectLog::confirm) or [`compensate`](EffectLog::compensate) it.
    pub fn open(&self) -> Vec<Intent> {
        self.intents
            .iter()
            .filter(|i| i.is_open())
            .cloned()
            .collect()
    }

    /// Adds an intent under a new id.
    pub fn record(&mut self, id: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Result<(), LogError> {
        let (id, data) = (id.as_ref(), data.as_ref());
        if let Some(i) = self.get(id) {
            return Err(LogError::Duplicate(i.stage));
        }
        if id.is_empty() || id.len() > MAX_ID {
            return Err(LogError::Id);
        }
        if data.len() > MAX_DATA {
            return Err(LogError::Data);
        }
        let intent = Intent {
            id: id.to_vec(),
            data: data.to_vec(),
            stage: Stage::Recorded,
        };
        if self.intents.len() >= MAX_INTENTS || COUNT + self.size + intent.size() > MAX_SIZE {
            return Err(LogError::Full);
        }
        self.requests.remove(id); // of one of this id that was pruned
        self.add(intent);
        Ok(())
    }

    /// Says that the act is about to start.
    pub fn begin(&mut self, id: impl AsRef<[u8]>) -> Result<(), LogError> {
        self.move_to(id.as_ref(), Stage::InFlight)
    }

    /// Says that the act happened.
    pub fn confirm(&mut self, id: impl AsRef<[u8]>) -> Result<(), LogError> {
        self.move_to(id.as_ref(), Stage::Confirmed)
    }

    /// Says that the act did not happen, or was undone.
    pub fn compensate(&mut self, id: impl AsRef<[u8]>) -> Result<(), LogError> {
        self.move_to(id.as_ref(), Stage::Compensated)
    }

    fn move_to(&mut self, id: &[u8], to: Stage) -> Result<(), LogError> {
        let i = match self.index.get(id) {
            Some(&n) => &mut self.intents[n],
            None => return Err(LogError::Unknown),
        };
        let from_here = match to {
            Stage::InFlight => i.stage == Stage::Recorded,
            _ => matches!(i.stage, Stage::InFlight | Stage::Unresolved),
        };
        if !from_here {
            return Err(LogError::Transition(i.stage));
        }
        i.stage = to;
        Ok(())
    }

    /// Drops the finished intents, and returns how many there were. The log then no longer knows
    /// their ids: prune an intent only when nothing can ask for its act a second time.
    pub fn prune(&mut self) -> usize {
        let before = core::mem::take(&mut self.intents);
        self.index.clear();
        self.size = 0;
        let n = before.len();
        for i in before {
            if i.stage.is_finished() {
                self.requests.remove(&i.id);
            } else {
                self.add(i);
            }
        }
        n - self.intents.len()
    }

    /// The intent of this id.
    pub fn get(&self, id: impl AsRef<[u8]>) -> Option<&Intent> {
        self.index.get(id.as_ref()).map(|&n| &self.intents[n])
    }

    /// All intents, in the order of their recording.
    pub fn iter(&self) -> impl Iterator<Item = &Intent> {
        self.intents.iter()
    }

    /// How many intents the log has.
    pub fn len(&self) -> usize {
        self.intents.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.intents.is_empty()
    }

    fn add(&mut self, i: Intent) {
        self.index.insert(i.id.clone(), self.intents.len());
        self.size += i.size();
        self.intents.push(i);
    }

    /// Returns the wire form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut b = Vec::with_capacity(COUNT + self.size);
        let number = |b: &mut Vec<u8>, n: usize| b.extend_from_slice(&(n as u32).to_le_bytes());
        let mut asked = Vec::new();
        if !self.requests.is_empty() {
            for (n, i) in self.intents.iter().enumerate().filter(|(_, i)| i.is_open()) {
                if let Some(r) = self.requests.get(&i.id) {
                    number(&mut asked, n);
                    asked.push(r.confirmed.into());
                    asked.extend_from_slice(&r.digest);
                }
            }
        }
        if !asked.is_empty() || !self.kept.is_empty() {
            number(&mut b, EXTENDED);
            number(&mut b, asked.len() / ASKED);
            b.extend_from_slice(&asked);
            number(&mut b, self.kept.len());
            for k in &self.kept {
                b.push(k.outcome as u8);
                b.extend_from_slice(&k.effect);
                b.extend_from_slice(&k.digest);
                b.extend_from_slice(&k.returned.to_le_bytes());
                number(&mut b, k.result.len());
                b.extend_from_slice(&k.result);
            }
        }
        number(&mut b, self.intents.len());
        for i in &self.intents {
            b.push(i.stage as u8);
            for part in [&i.id, &i.data] {
                number(&mut b, part.len());
                b.extend_from_slice(part);
            }
        }
        b
    }

    /// Reads the wire form. What was in flight is unresolved.
    pub fn from_bytes(b: &[u8]) -> Result<EffectLog, Malformed> {
        let mut r = Reader { b, at: 0 };
        let mut log = EffectLog::default();
        let mut asked = Vec::new();
        if b.len() >= COUNT && crate::abi::number(b) == EXTENDED {
            r.at = COUNT;
            asked = r.asked()?;
            log.kept = r.kept()?;
            if asked.is_empty() && log.kept.is_empty() {
                return r.fail("an extension of nothing");
            }
        }
        if b.len() - r.at > MAX_SIZE {
            return r.fail("it is over 16777216 bytes");
        }
        let count = r.number()?;
        if count > MAX_INTENTS {
            return r.fail("it claims more than 65536 intents");
        }
        for _ in 0..count {
            let at = r.at;
            let stage = match r.take(1)?[0] {
                1 => Stage::Recorded,
                2 | 4 => Stage::Unresolved, // the one rule
                3 => Stage::Confirmed,
                5 => Stage::Compensated,
                _ => {
                    return Err(Malformed {
                        at,
                        problem: "unknown state, want 1 to 5",
                    })
                }
            };
            let id = r.part(MAX_ID)?;
            let data = r.part(MAX_DATA)?;
            let problem = match () {
                _ if id.is_empty() => "an empty id",
                _ if log.index.contains_key(id) => "an id that stands twice",
                _ => {
                    log.add(Intent {
                        id: id.to_vec(),
                        data: data.to_vec(),
                        stage,
                    });
                    continue;
                }
            };
            return Err(Malformed { at, problem });
        }
        if r.at < b.len() {
            return r.fail("bytes follow the last intent");
        }
        for (n, asked) in asked {
            match log.intents.get(n) {
                Some(i) if i.is_open() => log.requests.insert(i.id.clone(), asked),
                _ => return r.fail("a request of an intent that is not open"),
            };
        }
        Ok(log)
    }
}

struct Reader<'a> {
    b: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, problem: &'static str) -> Result<T, Malformed> {
        Err(Malformed {
            at: self.at,
            problem,
        })
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        if n > self.b.len() - self.at {
            return self.fail("the bytes end too early");
        }
        self.at += n;
        Ok(&self.b[self.at - n..self.at])
    }

    fn number(&mut self) -> Result<usize, Malformed> {
        self.take(4).map(crate::abi::number)
    }

    /// A count of things that have so many bytes at least.
    fn count(&mut self, size: usize) -> Result<usize, Malformed> {
        let n = self.number()?;
        if n > (self.b.len() - self.at) / size {
            return self.fail("the bytes end too early");
        }
        Ok(n)
    }

    fn digest(&mut self) -> Result<[u8; 32], Malformed> {
        let mut d = [0; 32];
        d.copy_from_slice(self.take(32)?);
        Ok(d)
    }

    /// The requests of open intents, by their places.
    fn asked(&mut self) -> Result<Vec<(usize, Asked)>, Malformed> {
        let mut all: Vec<(usize, Asked)> = Vec::new();
        for _ in 0..self.count(ASKED)? {
            let at = self.number()?;
            let state = self.take(1)?[0];
            if state > 1 || matches!(all.last(), Some((before, _)) if *before >= at) {
                return self.fail("a request that is out of its order, or in no known state");
            }
            let (digest, confirmed) = (self.digest()?, state == 1);
            all.push((at, Asked { digest, confirmed }));
        }
        Ok(all)
    }

    fn kept(&mut self) -> Result<Vec<Kept>, Malformed> {
        let n = self.count(KEPT)?;
        if n > MAX_FINDINGS {
            return self.fail("more than 1024 findings");
        }
        let mut all: Vec<Kept> = Vec::new();
        let mut size = 0;
        for _ in 0..n {
            let outcome = match self.take(1)?[0] {
                1 => Outcome::Confirmed,
                3 => Outcome::Unresolved,
                4 => Outcome::Ended,
                _ => return self.fail("a finding of an outcome that cannot be kept"),
            };
            let (effect, digest) = (self.digest()?, self.digest()?);
            let mut returned = [0; 8];
            returned.copy_from_slice(self.take(8)?);
            let returned = i64::from_le_bytes(returned);
            let length = self.number()?;
            if length > MAX_RESULTS - size {
                return self.fail("results over their limit of 2097152 bytes");
            }
            size += length;
            let result = self.take(length)?.to_vec();
            if outcome != Outcome::Ended && (returned != 0 || length > 0) {
                return self.fail("an answer to what has none");
            }
            if all.iter().any(|k| k.effect == effect) {
                return self.fail("an effect that stands twice");
            }
            all.push(Kept {
                outcome,
                effect,
                digest,
                returned,
                result,
            });
        }
        Ok(all)
    }

    fn part(&mut self, limit: usize) -> Result<&'a [u8], Malformed> {
        let n = self.number()?;
        if n > limit {
            return self.fail("a length over its limit");
        }
        self.take(n)
    }
}
