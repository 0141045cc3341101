//! Completes a compliance workflow, or removes what one has written that cannot be completed.

use store::{JOBS, RESULTS};

use crate::compliance::conclude;
use crate::{Activity, Function};

/// `complete_compliance`: takes `{interrupted?}`. Reports the result and removes what nobody needs any more.
pub static COMPLETE_COMPLIANCE: Activity = Activity {
    name: "complete_compliance",
    forward: |context| Box::pin(conclude(context)),
    function: Function { timeout_seconds: 90, reads: &[JOBS], removes: &[JOBS, RESULTS], ..Function::USUAL },
    ..Activity::NOTHING
};
