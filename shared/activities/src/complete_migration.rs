//! Completes a data migration, or undoes one that cannot be completed.

use downstream::Service;
use store::{BACKUPS, JOBS, RESULTS};

use crate::migration::conclude;
use crate::{Activity, Function};

/// `complete_migration`: takes `{interrupted?}`. Compares what was written and reports the result; or undoes it.
pub static COMPLETE_MIGRATION: Activity = Activity {
    name: "complete_migration",
    forward: |context| Box::pin(conclude(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[JOBS, BACKUPS, RESULTS],
        writes: &[JOBS, RESULTS],
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
