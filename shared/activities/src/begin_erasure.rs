//! Writes an erasure down, before the first thing goes.

use store::JOBS;

use crate::compliance::erasure::begin;
use crate::{Activity, BackupUse, ErasureUse, Function};

/// `begin_erasure`: takes nothing, answers `{}`. From here on restores leave the person out.
pub static BEGIN_ERASURE: Activity = Activity {
    name: "begin_erasure",
    forward: |context| Box::pin(begin::begin(context)),
    function: Function {
        timeout_seconds: 90,
        reads: &[JOBS],
        backups: BackupUse::Looks,
        erasures: ErasureUse::Notes,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
