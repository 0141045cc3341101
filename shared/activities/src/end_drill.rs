//! Ends a drill: removes what it wrote.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::restore::drill;
use crate::{Activity, Function};

/// `end_drill`: takes nothing, answers `{removed}`.
pub static END_DRILL: Activity = Activity {
    name: "end_drill",
    forward: |context| Box::pin(drill::end(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(512),
        reads: &[BACKUPS, JOBS],
        writes: &[JOBS],
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
