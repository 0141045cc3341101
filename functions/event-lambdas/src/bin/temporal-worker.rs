//! EventBridge Scheduler: every minute

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), event_lambdas::Error> {
    event_lambdas::temporal_worker::serve().await
}
