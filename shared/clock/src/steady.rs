//! Time for what tells moments and must not go back.

use jiff::Timestamp;

use crate::{Clock, Instant};

/// What a clock shows: the time and the instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    now: Timestamp,
    instant: Instant,
}

impl Reading {
    /// Reads the clock.
    pub fn of(clock: &dyn Clock) -> Self {
        // In this order: what is told by way of the instant is never ahead of the clock then.
        let now = clock.now();
        Self { now, instant: clock.instant() }
    }
}

/// The clock's time, except that it passes while the clock is set back, and is never before what was told already. It is
/// ahead of the clock then, by as much as that was set back.
#[derive(Debug, Clone, Copy)]
pub struct SteadyTime {
    last: Timestamp,
    instant: Instant,
}

impl SteadyTime {
    /// Goes on from `last`, which is what was told last, perhaps by another process.
    pub fn from(last: Timestamp, clock: &dyn Clock) -> Self {
        let reading = Reading::of(clock);
        Self { last: last.max(reading.now), instant: reading.instant }
    }

    /// The time now.
    pub fn now(&mut self, clock: &dyn Clock) -> Timestamp {
        let reading = Reading::of(clock);
        *self = Self { last: self.at(reading), instant: reading.instant };
        self.last
    }

    /// What the time was, or is, when the clock showed this.
    pub fn at(&self, reading: Reading) -> Timestamp {
        let Self { last, instant } = *self;
        let steady = match reading.instant < instant {
            true => last.checked_sub(instant.since(reading.instant)),
            false => last.checked_add(reading.instant.since(instant)),
        };
        steady.unwrap_or(last).max(reading.now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{VirtualClock, sleep};

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a second")
    }

    #[tokio::test]
    async fn it_passes_while_the_clock_is_set_back() {
        let clock = VirtualClock::new(second(10_000));
        let mut time = SteadyTime::from(second(0), &clock);
        assert_eq!(time.now(&clock), second(10_000));
        let earlier = Reading::of(&clock);
        clock.jump_to(second(6_400));
        assert_eq!(time.now(&clock), second(10_000));
        sleep(&clock, Duration::from_secs(5)).await;
        assert_eq!((clock.now(), time.now(&clock)), (second(6_405), second(10_005)));
        assert_eq!(time.at(earlier), second(10_000));
        clock.jump_to(second(20_000));
        assert_eq!(time.now(&clock), second(20_000), "set forward, it is the clock's");
    }

    #[tokio::test]
    async fn another_process_goes_on_from_what_was_told() {
        let clock = VirtualClock::new(second(6_400));
        let mut time = SteadyTime::from(second(10_000), &clock);
        sleep(&clock, Duration::from_secs(5)).await;
        assert_eq!(time.now(&clock), second(10_005));
    }
}
