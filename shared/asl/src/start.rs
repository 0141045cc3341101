//! What an execution is started with.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an execution is started with; all of it but the seed becomes `$states.context`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of the context object")]
pub struct ExecutionStart {
    pub input: Value,
    pub execution_id: String,
    pub execution_name: String,
    pub state_machine_id: String,
    pub state_machine_name: String,
    pub role_arn: String,
    /// Where random numbers (jitter, `$random`, `$uuid`) come from.
    pub seed: u64,
}
