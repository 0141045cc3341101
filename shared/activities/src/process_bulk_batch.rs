//! Does one batch of a bulk operation.

use downstream::Service;
use store::JOBS;

use crate::bulk::batch;
use crate::{Activity, Function};

/// `process_bulk_batch`: takes `{batch, round, stops_at, given_up?}`, answers `{completed, failed, unprocessed}`. Its error
/// `BatchUnfinished` asks to be called again, in the next round.
pub static PROCESS_BULK_BATCH: Activity = Activity {
    name: "process_bulk_batch",
    forward: |context| Box::pin(batch::process(context)),
    calls: &Service::ALL,
    function: Function { timeout_seconds: 90, reads: &[JOBS], writes: &[JOBS], ..Function::USUAL },
    ..Activity::NOTHING
};
