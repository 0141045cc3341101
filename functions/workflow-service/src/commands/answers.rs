//! What commands read of the server's answers, for people. Programs get the answers as they are, so that they see fields that
//! this version does not know.

use contracts::{Event, Status, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A status.
#[derive(Debug, Deserialize)]
pub(crate) struct WorkflowStatus {
    pub(crate) workflow_id: String,
    pub(crate) workflow_type: String,
    pub(crate) status: Status,
    pub(crate) progress: Option<Progress>,
    pub(crate) items: Option<Items>,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<String>,
    pub(crate) estimated_completion: Option<Timestamp>,
    pub(crate) retried_from: Option<String>,
    pub(crate) retried_as: Option<String>,
    pub(crate) started_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) cancelled_at: Option<Timestamp>,
    pub(crate) damaged: Option<String>,
}

/// Steps.
#[derive(Debug, Deserialize)]
pub(crate) struct Progress {
    pub(crate) total_steps: u32,
    pub(crate) completed_steps: u32,
    pub(crate) percentage: f32,
    pub(crate) estimated_completion: Option<Timestamp>,
    pub(crate) status_message: Option<String>,
}

/// Items of a workflow that works on many.
#[derive(Debug, Deserialize)]
pub(crate) struct Items {
    pub(crate) total: u64,
    pub(crate) completed: u64,
    #[serde(default)]
    pub(crate) failed: u64,
}

impl WorkflowStatus {
    /// When it should end.
    pub(crate) fn estimated_end(&self) -> Option<Timestamp> {
        self.estimated_completion.or_else(|| self.progress.as_ref()?.estimated_completion)
    }
}

/// A page of history.
#[derive(Debug, Deserialize)]
pub(crate) struct HistoryPage {
    pub(crate) events: Vec<Event>,
    pub(crate) next_page_token: Option<String>,
}

/// Reads an answer.
///
/// # Errors
/// The answer is not what this version understands.
pub(crate) fn read<T: DeserializeOwned>(answer: &Value) -> anyhow::Result<T> {
    T::deserialize(answer).map_err(|error| anyhow::anyhow!("the server's answer is not understood: {error}"))
}

/// A text of an answer; empty if it has none.
pub(crate) fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_default()
}

/// A time of an answer, in whole seconds.
pub(crate) fn seconds(answer: &Value, name: &str) -> String {
    let given = text(answer, name);
    given.parse().map_or_else(|_| given.to_owned(), whole_seconds)
}

/// A time in whole seconds.
pub(crate) fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
