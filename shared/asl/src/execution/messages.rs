//! What goes into an execution and what comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ids::{MapRunId, TaskId};
use super::map_run::MapRun;
use crate::edge::Edge;
use crate::items::ItemSource;
use crate::states::ResultTarget;

/// What happened outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// The function answered.
    TaskSucceeded {
        /// The attempt.
        id: TaskId,
        /// The answer.
        result: Value,
    },
    /// The function failed, or the caller ended the attempt: `States.Timeout` or `States.HeartbeatTimeout` with an
    /// empty cause when it took too long.
    TaskFailed {
        /// The attempt.
        id: TaskId,
        /// The error's name.
        error: String,
        /// Why; JSON text where a function failed.
        cause: String,
    },
    /// The items of a Map run can be read.
    ItemsRead {
        /// The run.
        map_run: MapRunId,
        /// How many there are.
        count: u64,
    },
    /// A child ended.
    ChildEnded {
        /// The run that it belongs to.
        map_run: MapRunId,
        /// Its item's index.
        index: u64,
        /// Whether it failed.
        has_failed: bool,
        /// Its output; of a child that failed, a description in the words of AWS.
        result: Value,
    },
    /// The results of a Map run are where they should be.
    ResultsWritten {
        /// The run.
        map_run: MapRunId,
        /// What the Map comes to: says where they are.
        result: Value,
    },
    /// A Map run cannot go on: its items cannot be read or its results written.
    MapRunFailed {
        /// The run.
        map_run: MapRunId,
        /// The error's name: `States.ItemReaderFailed`, `States.ResultWriterFailed`.
        error: String,
        /// Why.
        cause: String,
    },
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Call a function, and report the end as an [`Event`].
    ScheduleTask {
        /// The attempt.
        id: TaskId,
        /// The state that wants it.
        state: String,
        /// 0 for the first attempt of a visit to the state.
        retry_count: u32,
        /// The state's `Resource`.
        resource: String,
        /// The function, by name or ARN.
        function: String,
        /// What to call it with.
        payload: Value,
        /// How long the attempt may take from its real beginning.
        timeout: Option<Duration>,
        /// How long it may be silent.
        heartbeat: Option<Duration>,
    },
    /// The attempt's end is of no interest any more.
    CancelTask {
        /// The attempt.
        id: TaskId,
    },
    /// Count the items of a Map run, and report [`Event::ItemsRead`].
    ReadItems {
        /// The run.
        map_run: MapRunId,
        /// Where they are.
        source: ItemSource,
    },
    /// Run an execution for every item, and report the end of each as [`Event::ChildEnded`]. [`crate::Children`] knows how,
    /// and [`crate::ExecutionTree`] does it at once.
    StartChildren(Box<MapRun>),
    /// Nothing of a Map run is of interest any more: its items, its children, its results.
    CancelChildren {
        /// The run.
        map_run: MapRunId,
    },
    /// Write what the children of a Map run came to, and report [`Event::ResultsWritten`].
    WriteResults {
        /// The run.
        map_run: MapRunId,
        /// Its ARN, as the results tell it.
        map_run_arn: String,
        /// Where to.
        target: ResultTarget,
    },
    /// The execution has ended well.
    Succeed {
        /// Its output.
        output: Value,
    },
    /// The execution has failed.
    Fail {
        /// The error's name, if it has one.
        error: Option<String>,
        /// Why, if it says so.
        cause: Option<String>,
    },
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Well.
    Succeeded {
        /// Its output.
        output: Value,
    },
    /// Not well.
    Failed {
        /// The error's name, if it has one.
        error: Option<String>,
        /// Why, if it says so.
        cause: Option<String>,
    },
}

/// What happened inside, in the words of AWS's history. Values are shared with the execution, not copied.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are those of AWS's history")]
pub enum Trace {
    /// `<state_type>StateEntered`
    StateEntered { state: String, state_type: &'static str, input: Arc<Value> },
    /// `<state_type>StateExited`
    StateExited { state: String, state_type: &'static str, output: Arc<Value>, assigned: BTreeMap<String, Arc<Value>> },
    /// `MapRunStarted`
    MapRunStarted { state: String },
    /// `MapRunSucceeded`, with how many children failed all the same
    MapRunSucceeded { state: String, items: u64, failed: u64 },
    /// `MapRunFailed`
    MapRunFailed { state: String, error: String, cause: String },
    /// `EvaluationFailed`
    EvaluationFailed { state: String, error: String, cause: String, location: Option<String> },
    /// Something that test cases are counted by.
    EdgeTaken(Edge),
}
