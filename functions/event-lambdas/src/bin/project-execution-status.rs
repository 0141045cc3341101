//! EventBridge: Step Functions Execution Status Change

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), event_lambdas::Error> {
    event_lambdas::project_execution_status::serve().await
}
