//! A function as all activities are, whose first attempt panics: the tests look what becomes of that.

use std::sync::atomic::{AtomicBool, Ordering};

use activities::{Activity, AttemptFuture, Context};
use serde_json::json;

static PANICKING: Activity = Activity { name: "panicking_activity", forward: act, ..Activity::NOTHING };

static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

fn act<'a>(_context: &'a Context<'a>) -> AttemptFuture<'a> {
    Box::pin(async {
        assert!(HAS_PANICKED.swap(true, Ordering::Relaxed), "canary-of-the-panic");
        Ok(json!({ "works": true }))
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&PANICKING).await
}
