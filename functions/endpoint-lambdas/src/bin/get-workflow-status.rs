//! GET /api/v1/workflows/{workflow_id}/status

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_with_archive(api::get_workflow_status::route()).await
}
