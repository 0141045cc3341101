//! Erases a person's things of one type.

use downstream::Service;
use store::JOBS;

use crate::compliance::erasure::erase;
use crate::{Activity, ErasureUse, Function};

/// `erase_data_set`: takes `{batch, given_up?}`, answers `{completed, failed}`. Deletes or masks the person's things of a type, and
/// what mentions the person in other things.
pub static ERASE_DATA_SET: Activity = Activity {
    name: "erase_data_set",
    forward: |context| Box::pin(erase::erase(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 90,
        reads: &[JOBS],
        writes: &[JOBS],
        erasures: ErasureUse::Holds,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
