//! Makes the package of an export.

use store::{JOBS, RESULTS};

use crate::compliance::pack;
use crate::{Activity, Function};

/// `pack_export`: takes nothing, answers `{records}`. Makes one package of everything that was read.
pub static PACK_EXPORT: Activity = Activity {
    name: "pack_export",
    forward: |context| Box::pin(pack::pack(context)),
    function: Function {
        timeout_seconds: 890,
        memory_mb: Some(1_024),
        // Its own package, to ask how it is encrypted.
        reads: &[JOBS, RESULTS],
        writes: &[JOBS, RESULTS],
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
