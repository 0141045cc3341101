//! The steps of a Map over data sets: what each is told, and what it tells.

use contracts::ActivityError;
use serde::Deserialize;
use serde_json::{Map, json};

use crate::Context;

/// What a step is told.
#[derive(Deserialize)]
pub(crate) struct SetInput {
    batch: SetNumber,
    /// The error for which the machine gives the data set up.
    #[serde(default)]
    pub(crate) given_up: Option<String>,
}

#[derive(Deserialize)]
struct SetNumber {
    set: usize,
}

impl SetInput {
    /// Which data set of the plan.
    pub(crate) fn number(&self) -> usize {
        self.batch.set
    }
}

/// Tells how many items of a data set are done, and how many failed.
pub(crate) fn report(context: &Context<'_>, completed: u64, failed: u64) -> Result<(), ActivityError> {
    context.report(Map::from_iter([("completed".to_owned(), json!(completed)), ("failed".to_owned(), json!(failed))]))
}
