//! Calls that are repeated while the server is away.

use std::time::Duration;

use clock::{Clock as _, Instant, SystemClock};

use super::exit::CommandError;
use super::progress::Progress;

/// A server may be away for so long before a command gives up.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The first wait, and the longest that waits grow to.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The longest that a server's `Retry-After` is respected.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Asks until there is an answer, and says once that there is none.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    away_since: Option<Instant>,
}

impl Patience {
    /// The answer, after as many calls as it takes.
    ///
    /// # Errors
    /// One that repeating does not help with, or the server is away for too long.
    pub(crate) async fn ask<T>(
        &mut self,
        progress: &Progress,
        mut call: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut wait = FIRST_WAIT;
        loop {
            let error = match call().await {
                Ok(answer) => {
                    self.away_since = None;
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let passing = error.downcast_ref::<CommandError>().filter(|error| error.is_passing());
            let Some(retry_after) = passing.map(CommandError::retry_after) else { return Err(error) };
            let now = SystemClock.instant();
            match self.away_since {
                None => {
                    self.away_since = Some(now);
                    progress.say(format!("{error:#}; trying again until there is an answer"));
                }
                Some(since) if now.since(since) > LIMIT => return Err(error),
                Some(_) => {}
            }
            clock::sleep(&SystemClock, retry_after.unwrap_or(wait).min(LONGEST_RETRY_AFTER)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
