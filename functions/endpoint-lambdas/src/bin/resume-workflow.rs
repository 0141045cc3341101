//! POST /api/v1/workflows/{workflow_id}/resume

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_with_archive(api::resume_workflow::route()).await
}
