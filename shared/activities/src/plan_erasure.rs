//! Plans an erasure of what is kept of a person.

use downstream::Service;
use store::JOBS;

use crate::compliance::erasure::plan;
use crate::{Activity, ErasureUse, Function};

/// `plan_erasure`: takes `{request}`, answers `{manifest, sets}`. Looks up what goes, in which order, and whether there is such a
/// person; and keeps away whoever copies, restores or reads everything.
pub static PLAN_ERASURE: Activity = Activity {
    name: "plan_erasure",
    forward: |context| Box::pin(plan::plan(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 290,
        reads: &[JOBS],
        writes: &[JOBS],
        leases: true,
        erasures: ErasureUse::Names,
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
