//! Reads a data set of an export.

use downstream::Service;
use store::JOBS;

use crate::compliance::collect;
use crate::{Activity, Function};

/// `collect_data_set`: takes `{batch, given_up?}`, reports how many it has read.
pub static COLLECT_DATA_SET: Activity = Activity {
    name: "collect_data_set",
    forward: |context| Box::pin(collect::collect(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 90,
        memory_mb: Some(512),
        reads: &[JOBS],
        writes: &[JOBS],
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
