//! Plans a data migration.

use downstream::Service;
use store::{BACKUPS, JOBS, RESULTS};

use crate::migration::plan;
use crate::{Activity, BackupUse, ErasureUse, Function};

/// `plan_migration`: takes `{request, reverses?}`, answers `{manifest, total, stops_at}`. Reads what is to be migrated, and
/// asks the target what would come of it; or what the execution `reverses` has written, to take it back.
pub static PLAN_MIGRATION: Activity = Activity {
    name: "plan_migration",
    forward: |context| Box::pin(plan::plan(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[JOBS, BACKUPS],
        writes: &[JOBS, RESULTS],
        leases: true,
        backups: BackupUse::Looks,
        erasures: ErasureUse::Looks,
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
