//! Completes a backup, or discards one that cannot be completed.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::backup::conclude;
use crate::{Activity, BackupUse, Function};

/// `complete_backup`: takes `{interrupted?}`. Reads what has changed meanwhile, checks the parts,
/// signs the manifest and reports the result; or removes what was written.
pub static COMPLETE_BACKUP: Activity = Activity {
    name: "complete_backup",
    forward: |context| Box::pin(conclude(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[BACKUPS, JOBS],
        writes: &[BACKUPS],
        removes: &[BACKUPS],
        backups: BackupUse::Keeps,
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
