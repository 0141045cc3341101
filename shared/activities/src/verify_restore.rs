//! Compares what was restored with the backup.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::restore::verify;
use crate::{Activity, BackupUse, Function};

/// `verify_restore`: takes nothing, answers `{verified}`.
pub static VERIFY_RESTORE: Activity = Activity {
    name: "verify_restore",
    forward: |context| Box::pin(verify::verify(context)),
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
