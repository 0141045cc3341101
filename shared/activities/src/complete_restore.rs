//! Completes a restore, or undoes one that cannot be completed.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::restore::conclude;
use crate::{Activity, BackupUse, Function};

/// `complete_restore`: takes `{interrupted?}`. Reports the result; or undoes what was written.
pub static COMPLETE_RESTORE: Activity = Activity {
    name: "complete_restore",
    forward: |context| Box::pin(conclude(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[BACKUPS, JOBS],
        writes: &[JOBS],
        backups: BackupUse::Notes,
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
