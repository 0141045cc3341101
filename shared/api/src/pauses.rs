//! How often the store is asked for news while somebody waits.

use std::time::Duration;

/// The first pause: most steps are quick.
const FIRST: Duration = Duration::from_millis(10);

/// The longest pause: what a change is late at most. A read is a fraction of a millisecond on SQLite, and two read units on
/// DynamoDB.
const LONGEST: Duration = Duration::from_millis(500);

/// Pauses that grow as long as nothing happens.
pub(crate) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pauses {
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause
    }
}
