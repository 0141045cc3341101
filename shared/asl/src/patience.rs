//! Evaluations that take long: where they run, and when whoever waits for them gives up.

use std::time::Duration;

/// Calls what it is given, once, before it returns.
pub type RunLong = fn(&mut dyn FnMut());

/// What whoever drives executions wants done about evaluations that take long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Runs those that are longer than most.
    pub(crate) run_long: RunLong,
    /// How long one may take; none if it is waited for however long it takes.
    pub(crate) limit: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { run_long: |work| work(), limit: None }
    }
}
