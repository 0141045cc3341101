//! GET /api/v1/workflows

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve(api::list_workflows::route()).await
}
