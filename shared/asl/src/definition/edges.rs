//! Everything in a definition that a set of test cases must take.

use super::model::{Definition, Kind, State};
use crate::edge::Edge;
use crate::states::Choice;

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
