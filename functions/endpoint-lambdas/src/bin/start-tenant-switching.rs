//! POST /api/v1/workflows/tenant-switching

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_starting(api::start_tenant_switching::route()).await
}
