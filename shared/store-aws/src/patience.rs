//! What is tried again while it meets others, or DynamoDB is short of capacity.

use std::time::Duration;

use crate::DynamoStore;

/// Tries that are left, and the wait before the next one, which doubles.
pub(crate) struct Patience {
    tries: u32,
    wait: Duration,
}

impl Patience {
    /// For what meets others: about 5 s in all.
    pub(crate) fn with_others() -> Self {
        Self { tries: 9, wait: Duration::from_millis(20) }
    }

    /// For what is done in part: about 6 s in all.
    pub(crate) fn with_parts() -> Self {
        Self { tries: 8, wait: Duration::from_millis(50) }
    }
}

impl DynamoStore {
    /// Waits before the next try; false if there is none left.
    pub(crate) async fn wait(&self, patience: &mut Patience) -> bool {
        patience.tries -= 1;
        if patience.tries == 0 {
            return false;
        }
        // Those that met must not meet again: each waits its own part of the doubled time.
        let spread = f64::from(self.clock.now().subsec_microsecond() % 1_000) / 1_000.0;
        clock::sleep(&*self.clock, patience.wait.mul_f64(0.5 + spread)).await;
        patience.wait *= 2;
        true
    }
}
