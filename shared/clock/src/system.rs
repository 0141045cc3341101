//! The clock of the machine.

use std::sync::LazyLock;

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{Busy, Clock, Instant};

/// Where instants are counted from. Tokio's own, so that they and its timers agree.
static BEGINNING: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);

/// The machine's clock and tokio's timers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        // Whole microseconds, which is what stores keep: a time reads back as it was.
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    fn instant(&self) -> Instant {
        Instant::after_beginning(BEGINNING.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that waits on the machine's clock")]
    fn alarm(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(at.since(self.instant())))
    }

    fn busy(&self) -> Busy {
        Busy(None)
    }

    fn set_parked(&self, _parked: bool) {}
}
