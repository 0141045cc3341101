//! GET /api/v1/workflows/{workflow_id}/results/{name}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_files(api::get_workflow_results::route()).await
}
