//! Checks a backup, and writes down in which order it is restored.

use store::{BACKUPS, JOBS};

use crate::restore::plan;
use crate::{Activity, Function};

/// `plan_restore`: takes `{request}`, answers `{manifest, total}`.
pub static PLAN_RESTORE: Activity = Activity {
    name: "plan_restore",
    forward: |context| Box::pin(plan::plan(context)),
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[BACKUPS],
        writes: &[JOBS],
        leases: true,
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
