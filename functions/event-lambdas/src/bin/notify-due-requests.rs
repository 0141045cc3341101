//! EventBridge Scheduler: every hour

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), event_lambdas::Error> {
    event_lambdas::notify_due_requests::serve().await
}
