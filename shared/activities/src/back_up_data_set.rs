//! Reads the things of one type, or the bytes of the files, into a backup.

use downstream::Service;
use store::{BACKUPS, JOBS};

use crate::backup::read;
use crate::{Activity, Function};

/// `back_up_data_set`: takes `{batch, given_up?}`, reports how many it has read.
pub static BACK_UP_DATA_SET: Activity = Activity {
    name: "back_up_data_set",
    forward: |context| Box::pin(read::read(context)),
    calls: &Service::ALL,
    function: Function {
        timeout_seconds: 90,
        memory_mb: Some(512),
        reads: &[JOBS],
        writes: &[BACKUPS, JOBS],
        keys: true,
        ..Function::USUAL
    },
    ..Activity::NOTHING
};
