//! GET /api/v1/workflows/history

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_with_archive(api::get_workflow_history::route()).await
}
