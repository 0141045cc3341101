//! Retriers and catchers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::error::StateError;
use crate::random::Random;
use crate::scope::Visit;
use crate::states::{Exit, Leave};

/// One entry of `Retry`.
#[derive(Debug, Clone)]
pub(crate) struct Retrier {
    pub(crate) error_equals: Vec<String>,
    pub(crate) interval_seconds: u64,
    pub(crate) backoff_rate: f64,
    pub(crate) max_attempts: u32,
    pub(crate) max_delay_seconds: Option<u64>,
    pub(crate) full_jitter: bool,
}

/// One entry of `Catch`.
#[derive(Debug, Clone)]
pub(crate) struct Catcher {
    pub(crate) error_equals: Vec<String>,
    pub(crate) exit: Exit,
}

impl Catcher {
    /// Goes on with the error in the place of a result. What the state itself would assign or put out is not evaluated.
    pub(crate) fn catch(&self, error: &StateError, visit: &mut Visit<'_>) -> Result<Leave, StateError> {
        let output = Arc::new(error.output());
        self.exit.leave(visit, Some(("errorOutput", &*output)), &output)
    }
}

/// The first retrier that names the error; if it has retries left, its index and the delay.
pub(crate) fn next_retry(
    retriers: &[Retrier],
    used: &mut Vec<u32>,
    error: &StateError,
    random: &mut Random,
) -> Option<(usize, Duration)> {
    let index = retriers.iter().position(|retrier| error.matches(&retrier.error_equals))?;
    let retrier = &retriers[index];
    used.resize(retriers.len(), 0);
    if used[index] >= retrier.max_attempts {
        return None;
    }
    let delay = retrier.delay(used[index], random);
    used[index] += 1;
    Some((index, delay))
}

impl Retrier {
    /// Before the retry after `retries` others: the interval, grown by the rate that often, under its cap.
    fn delay(&self, retries: u32, random: &mut Random) -> Duration {
        let exponent = i32::try_from(retries).unwrap_or(i32::MAX);
        // AWS's largest MaxDelaySeconds; without a cap of its own a rate soon leaves what a duration can hold.
        let cap = self.max_delay_seconds.unwrap_or(31_622_400) as f64;
        let seconds = (self.interval_seconds as f64 * self.backoff_rate.powi(exponent)).min(cap);
        let seconds = if self.full_jitter { seconds * random.fraction() } else { seconds };
        Duration::from_micros((seconds * 1e6) as u64)
    }
}

/// The first catcher that names the error.
pub(crate) fn catcher<'a>(catchers: &'a [Catcher], error: &StateError) -> Option<(usize, &'a Catcher)> {
    catchers.iter().enumerate().find(|(_, catcher)| error.matches(&catcher.error_equals))
}

/// The value of a field of `ErrorEquals`.
pub(crate) fn error_names(value: &Value) -> Option<Vec<String>> {
    let names: Option<Vec<_>> = value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    names.filter(|names| !names.is_empty())
}
