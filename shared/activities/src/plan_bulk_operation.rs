//! Writes down which entities a bulk operation is about, and cuts them into batches.

use store::{JOBS, UPLOADS};

use crate::bulk::plan;
use crate::{Activity, Function};

/// `plan_bulk_operation`: takes `{request, origin?}`, answers `{manifest, batches, total, batch_size, stops_at}`. A retry
/// plans what the execution before it did not do.
pub static PLAN_BULK_OPERATION: Activity = Activity {
    name: "plan_bulk_operation",
    forward: |context| Box::pin(plan::plan(context)),
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[JOBS, UPLOADS],
        writes: &[JOBS, UPLOADS],
        leases: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
