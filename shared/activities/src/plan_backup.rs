//! Writes down what a backup reads, in which order, and under which key.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::backup::plan;
use crate::{Activity, BackupUse, Function};

/// `plan_backup`: takes `{request}`, answers `{manifest, sets}`.
pub static PLAN_BACKUP: Activity = Activity {
    name: "plan_backup",
    forward: |context| Box::pin(plan::plan(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[BACKUPS],
        writes: &[JOBS],
        leases: true,
        backups: BackupUse::Looks,
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
