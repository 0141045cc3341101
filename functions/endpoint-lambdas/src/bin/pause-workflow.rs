//! POST /api/v1/workflows/{workflow_id}/pause

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_with_archive(api::pause_workflow::route()).await
}
