//! POST /api/v1/workflows/compliance

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_starting(api::start_compliance::route()).await
}
