//! Completes a compliance workflow, or removes what one has written that cannot be completed.

use store::{JOBS, RESULTS};

use crate::compliance::conclude;
use crate::{Activity, BackupUse, ErasureUse, Function};

/// `complete_compliance`: takes `{interrupted?, erases?, given_up?}`. Reports the result, issues the certificate of an erasure, and
/// removes what nobody needs any more.
pub static COMPLETE_COMPLIANCE: Activity = Activity {
    name: "complete_compliance",
    forward: |context| Box::pin(conclude(context)),
    function: Function {
        timeout_seconds: 90,
        reads: &[JOBS, RESULTS],
        writes: &[RESULTS],
        removes: &[JOBS, RESULTS],
        backups: BackupUse::Lists,
        erasures: ErasureUse::Ends,
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
