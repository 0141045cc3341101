//! POST /api/v1/workflows/{workflow_id}/reverse

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_starting(api::reverse_workflow::route()).await
}
