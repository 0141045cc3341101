//! Plans a data migration.

use downstream::Service;
use store::{JOBS, RESULTS};

use crate::migration::plan;
use crate::{Activity, Function};

/// `plan_migration`: takes `{request}`, answers `{manifest, total, stops_at}`. Reads what is to be migrated, and asks the target
/// what would come of it.
pub static PLAN_MIGRATION: Activity = Activity {
    name: "plan_migration",
    forward: |context| Box::pin(plan::plan(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[],
        writes: &[JOBS, RESULTS],
        leases: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
