//! POST /api/v1/coordination/health-check

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_readiness(api::check_services_health::route()).await
}
