use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment, in nanoseconds since 1970. The default is [`NEVER`](Time::NEVER).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// A time that was not set, before all others.
    pub const NEVER: Time = Time(i64::MIN);

    /// The moment so many nanoseconds after 1970.
    pub const fn from_unix_nanos(ns: i64) -> Time {
        Time(ns)
    }

    /// Nanoseconds since 1970.
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// How long ago `earlier` was; nothing if it is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(i128::from(self.0).saturating_sub(earlier.0.into()).max(0) as u64)
    }
}

impl Default for Time {
    fn default() -> Time {
        Time::NEVER
    }
}

fn nanos(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(nanos(d)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, d: Duration) -> Time {
        Time(self.0.saturating_sub(nanos(d)))
    }
}
