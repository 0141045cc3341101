//! A function as all are that events start, whose first event panics: the tests look what becomes of that.

use std::sync::atomic::{AtomicBool, Ordering};

use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};

static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), event_lambdas::Error> {
    let handle = async |_: LambdaEvent<Value>| {
        assert!(HAS_PANICKED.swap(true, Ordering::Relaxed), "canary-of-the-panic");
        Ok(json!({ "works": true }))
    };
    event_lambdas::run(handle).await
}
