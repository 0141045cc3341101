//! What an execution can do in a definition, one by one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that an execution can do in a definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Edge {
    /// Enter a state.
    State {
        /// Its name.
        state: String,
    },
    /// Leave a Choice state by a rule.
    Choice {
        /// The Choice state.
        state: String,
        /// The rule's index; none for `Default`.
        rule: Option<usize>,
    },
    /// Retry.
    Retry {
        /// The state.
        state: String,
        /// The retrier's index.
        retrier: usize,
    },
    /// Catch.
    Catch {
        /// The state.
        state: String,
        /// The catcher's index.
        catcher: usize,
    },
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { state } => write!(f, "{state}"),
            Self::Choice { state, rule: Some(rule) } => write!(f, "{state}/Choices/{rule}"),
            Self::Choice { state, rule: None } => write!(f, "{state}/Default"),
            Self::Retry { state, retrier } => write!(f, "{state}/Retry/{retrier}"),
            Self::Catch { state, catcher } => write!(f, "{state}/Catch/{catcher}"),
        }
    }
}
