//! The clock of the machine.

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::{Busy, Clock};

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

    #[expect(clippy::disallowed_methods, reason = "the one place that waits on the machine's clock")]
    fn alarm(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        let left = at.duration_since(self.now());
        Box::pin(tokio::time::sleep(left.try_into().unwrap_or_default()))
    }

    fn busy(&self) -> Busy {
        Busy(None)
    }

    fn set_parked(&self, _parked: bool) {}
}
