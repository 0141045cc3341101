//! POST /api/v1/workflows/bulk-operation/uploads

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_files(api::create_bulk_upload::route()).await
}
