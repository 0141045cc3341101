//! Migrates one batch.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::migration::batch;
use crate::{Activity, Function};

/// `migrate_batch`: takes `{batch, given_up?}`, reports how many things it has migrated.
pub static MIGRATE_BATCH: Activity = Activity {
    name: "migrate_batch",
    forward: |context| Box::pin(batch::migrate(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 90,
        memory_mb: Some(512),
        reads: &[JOBS, BACKUPS],
        writes: &[JOBS],
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
