//! Looks whether anything of a person is left.

use downstream::Service;
use store::JOBS;

use crate::compliance::erasure::verify;
use crate::{Activity, Function};

/// `verify_erasure`: takes nothing, answers `{retained, left}`. Asks every service again.
pub static VERIFY_ERASURE: Activity = Activity {
    name: "verify_erasure",
    forward: |context| Box::pin(verify::verify(context)),
    calls: &Service::ALL,
    function: Function { timeout_seconds: 890, reads: &[JOBS], writes: &[JOBS], ..Function::USUAL },
    ..Activity::NOTHING
};
