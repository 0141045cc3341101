//! POST /api/v1/workflows/bulk-operation

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_starting(api::start_bulk_operation::route()).await
}
