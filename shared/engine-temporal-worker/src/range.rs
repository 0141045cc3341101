//! The children of a distributed Map: at most a hundred workflows, each of which runs the children of a range of the
//! items.

use std::ops::Range;

use asl::{ChildEnd, MapRun, MapRunId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The type of the workflows that run ranges.
pub(crate) const RANGE_TYPE: &str = "MapRange";

/// Workflows that one Map run starts at most.
const MAX_RANGES: u64 = 100;

/// Bytes of what they are all started with at most: it is one message to the server, which takes 4 MB.
const MAX_START_BYTES: usize = 2_500_000;

/// Bytes of results that a range hands over at most: the server takes 2 MB.
pub(crate) const MAX_RESULT_BYTES: usize = 1_500_000;

/// What a range's workflow is started with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RangeInput {
    pub(crate) definition: Value,
    /// Whose items these are; none if nobody knows.
    pub(crate) tenant_id: Option<String>,
    pub(crate) run: MapRun,
    pub(crate) range: Range<u64>,
}

/// The end of a child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) index: u64,
    pub(crate) has_failed: bool,
    pub(crate) result: Value,
}

impl From<ChildEnd> for End {
    fn from(end: ChildEnd) -> Self {
        Self { index: end.index, has_failed: end.has_failed, result: end.result }
    }
}

/// What a range's workflow comes to.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RangeOutput {
    pub(crate) ends: Vec<End>,
    /// Why its run cannot go on: an error's name and its cause.
    pub(crate) failure: Option<(String, String)>,
}

/// Children of a run that failed, told before their range is through: the run may have to stop.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Failures {
    pub(crate) map_run: Option<MapRunId>,
    pub(crate) ends: Vec<End>,
}

impl Failures {
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        Self::deserialize(value).map_err(|error| error.to_string())
    }
}

/// The ranges of a run, each with the run as its children see it: the items that are theirs, the concurrency that is
/// their share. `bytes` is what each is started with besides its items.
pub(crate) fn ranges(run: &MapRun, bytes: usize) -> Vec<(MapRun, Range<u64>)> {
    let affordable = (MAX_START_BYTES / bytes.max(1)) as u64;
    let count = run.items.min(run.max_concurrency).min(MAX_RANGES).min(affordable).max(1);
    let part = |of: u64, number: u64| of / count + u64::from(number < of % count);
    let mut from = 0;
    (0..count)
        .map(|number| {
            let range = from..from + part(run.items, number);
            from = range.end;
            (run.part(&range, part(run.max_concurrency, number).max(1)), range)
        })
        .collect()
}
