//! A function as all endpoints are, whose first answer is a panic: the tests look what becomes of that.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::routing::get;

static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

async fn answer() -> &'static str {
    assert!(HAS_PANICKED.swap(true, Ordering::Relaxed), "canary-of-the-panic");
    "works"
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_alone(Router::new().route("/here", get(answer))).await
}
