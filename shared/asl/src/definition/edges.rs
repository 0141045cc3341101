//! Everything in a definition that a set of test cases must take.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Definition, Kind, State};
use crate::states::Choice;

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

impl Definition {
    /// Every edge, in the order of the text.
    pub fn edges(&self) -> Vec<Edge> {
        self.in_order().into_iter().flat_map(|(name, state)| edges_of(name, state)).collect()
    }
}

fn edges_of(name: &str, state: &State) -> Vec<Edge> {
    let name = || name.to_owned();
    let choice = |rule| Edge::Choice { state: name(), rule };
    let mut edges = vec![Edge::State { state: name() }];
    if let Kind::Choice(Choice { rules, default }) = &state.kind {
        edges.extend((0..rules.len()).map(|rule| choice(Some(rule))));
        edges.extend(default.iter().map(|_| choice(None)));
    }
    edges.extend((0..state.retriers.len()).map(|retrier| Edge::Retry { state: name(), retrier }));
    edges.extend((0..state.catchers.len()).map(|catcher| Edge::Catch { state: name(), catcher }));
    edges
}
