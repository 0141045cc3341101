//! Plans an export of what is kept of a person.

use downstream::Service;
use store::JOBS;

use crate::compliance::plan;
use crate::{Activity, Function};

/// `plan_export`: takes `{request}`, answers `{manifest, sets, stops_at}`. Looks up what is read, and whether there is such a
/// person.
pub static PLAN_EXPORT: Activity = Activity {
    name: "plan_export",
    forward: |context| Box::pin(plan::plan(context)),
    calls: &Service::ALL,
    function: Function { timeout_seconds: 90, writes: &[JOBS], leases: true, keys: true, ..Function::USUAL },
    ..Activity::NOTHING
};
