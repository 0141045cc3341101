//! Lets services, and this one, forget what they keep of a person besides the person's things.

use downstream::Service;
use store::{ARCHIVE, JOBS, REQUESTS, RESULTS};

use crate::compliance::erasure::forget;
use crate::{Activity, ErasureUse, Function};

/// `forget_person`: takes nothing, answers `{executions}`: how many named the person.
pub static FORGET_PERSON: Activity = Activity {
    name: "forget_person",
    forward: |context| Box::pin(forget::forget(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 890,
        reads: &[ARCHIVE, JOBS, RESULTS],
        writes: &[ARCHIVE, JOBS, RESULTS],
        removes: &[JOBS, REQUESTS, RESULTS],
        erasures: ErasureUse::Forgets,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
