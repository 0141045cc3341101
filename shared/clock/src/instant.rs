//! Moments of a clock that nobody sets.

use std::ops::Add;
use std::time::Duration;

/// A moment of this process, in whole microseconds: it only has a meaning beside others of the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// So long after the clock's beginning.
    pub(crate) fn after_beginning(elapsed: Duration) -> Self {
        Self(Duration::from_micros(elapsed.as_micros().try_into().unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it comes later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// So much later; the end of time where that cannot be represented.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}
