//! Checks a backup, and writes down in which order it is restored.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::restore::plan;
use crate::{Activity, BackupUse, ErasureUse, Function};

/// `plan_restore`: takes `{request}`, answers `{manifest, total}`.
pub static PLAN_RESTORE: Activity = Activity {
    name: "plan_restore",
    forward: |context| Box::pin(plan::plan(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[BACKUPS],
        writes: &[JOBS],
        leases: true,
        backups: BackupUse::Looks,
        erasures: ErasureUse::Looks,
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
