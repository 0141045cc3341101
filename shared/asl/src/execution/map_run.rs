//! A distributed Map, as the execution knows it that waits for it, and as its children know it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::MapRunId;
use crate::MAX_PAYLOAD_BYTES;
use crate::items::ItemSource;
use crate::scope::Variables;
use crate::size;
use crate::start::ExecutionStart;
use crate::states::{ResultTarget, Tolerated};

/// One run of a distributed Map: all that its children need to know of the execution that wants them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapRun {
    /// Names it within its execution.
    pub id: MapRunId,
    /// The Map state.
    pub state: String,
    /// How many items, and so children, there are.
    pub items: u64,
    /// How many children may be under way at the same time.
    pub max_concurrency: u64,
    /// Where the items are, unless the execution had them.
    pub source: Option<ItemSource>,
    /// The items, unless they have to be read; from this index on.
    pub(crate) given: Vec<Arc<Value>>,
    #[serde(default)]
    pub(crate) given_from: u64,
    /// Whether results are written: they are told at more length then.
    pub(crate) has_writer: bool,
    pub(crate) label: String,
    pub(crate) arn: String,
    pub(crate) seed: u64,
    pub(crate) parent: Parent,
}

impl MapRun {
    /// The same run for whoever runs the children of these items only, with a concurrency of their own.
    pub fn part(&self, range: &Range<u64>, max_concurrency: u64) -> Self {
        let position = |index: u64| usize::try_from(index - self.given_from).unwrap_or(usize::MAX);
        let (first, last) = (position(range.start.max(self.given_from)), position(range.end.max(self.given_from)));
        let given = self.given.get(first..last.min(self.given.len())).unwrap_or_default().to_vec();
        Self {
            max_concurrency,
            given,
            given_from: range.start,
            source: self.source.clone(),
            state: self.state.clone(),
            label: self.label.clone(),
            arn: self.arn.clone(),
            parent: self.parent.clone(),
            ..*self
        }
    }
}

/// What a Map's `ItemSelector` may look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub(crate) start: ExecutionStart,
    pub(crate) started_at: Timestamp,
    pub(crate) entered_at: Timestamp,
    pub(crate) entered_event: u64,
    pub(crate) retry_count: u32,
    pub(crate) input: Arc<Value>,
    pub(crate) variables: Variables,
}

/// What the Map state knows while it waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OpenMapRun {
    pub(super) id: MapRunId,
    pub(super) label: String,
    pub(super) arn: String,
    pub(super) max_concurrency: u64,
    pub(super) tolerated: Tolerated,
    pub(super) target: Option<ResultTarget>,
    pub(super) source: Option<ItemSource>,
    /// None while they are being counted.
    pub(super) items: Option<u64>,
    /// What children came to, by index; none beyond what a payload takes, so that memory has a limit.
    pub(super) ended: BTreeMap<u64, Option<Arc<Value>>>,
    pub(super) bytes: usize,
    pub(super) failed: u64,
    /// Results are being written.
    pub(super) is_writing: bool,
}

impl OpenMapRun {
    pub(super) fn put(&mut self, index: u64, has_failed: bool, result: Value) {
        let is_child = self.items.is_some_and(|items| index < items);
        if self.is_writing || !is_child || self.ended.contains_key(&index) {
            return;
        }
        self.failed += u64::from(has_failed);
        let mut kept = None;
        if self.target.is_none() {
            self.bytes = self.bytes.saturating_add(size::bytes(&result));
            kept = (self.bytes <= MAX_PAYLOAD_BYTES).then(|| Arc::new(result));
        }
        self.ended.insert(index, kept);
    }

    pub(super) fn are_all_over(&self) -> bool {
        self.items == Some(self.ended.len() as u64)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.tolerated.is_exceeded(self.failed, self.items.unwrap_or_default())
    }

    pub(super) fn result(&self) -> Option<Value> {
        self.ended.values().map(|result| result.as_deref().cloned()).collect()
    }
}
