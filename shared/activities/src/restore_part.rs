//! Writes one part of a backup into its service.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::restore::write;
use crate::{Activity, Function};

/// `restore_part`: takes `{batch, given_up?}`, reports how many things it has written.
pub static RESTORE_PART: Activity = Activity {
    name: "restore_part",
    forward: |context| Box::pin(write::write(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 90,
        memory_mb: Some(512),
        reads: &[BACKUPS, JOBS],
        writes: &[JOBS],
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
