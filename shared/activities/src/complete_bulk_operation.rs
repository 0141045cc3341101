//! Puts together what came of all batches of a bulk operation.

use store::{JOBS, RESULTS, UPLOADS};

use crate::bulk::results;
use crate::{Activity, Function};

/// `complete_bulk_operation`: takes `{interrupted?}`, writes the files of results, and reports the result. Its error
/// `BatchesStopped` says that more entities have failed than may.
pub static COMPLETE_BULK_OPERATION: Activity = Activity {
    name: "complete_bulk_operation",
    forward: |context| Box::pin(results::complete(context)),
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[JOBS],
        writes: &[RESULTS, UPLOADS],
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
