//! POST /api/v1/workflows/data-migration

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_starting(api::start_data_migration::route()).await
}
