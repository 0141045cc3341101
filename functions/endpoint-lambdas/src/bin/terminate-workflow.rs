//! POST /api/v1/workflows/{workflow_id}/terminate

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_operating(api::terminate_workflow::route()).await
}
