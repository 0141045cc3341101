//! POST /api/v1/workflows/{workflow_id}/retry

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_starting(api::retry_workflow::route()).await
}
