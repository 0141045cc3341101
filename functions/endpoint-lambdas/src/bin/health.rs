//! GET /health

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve(api::health::route()).await
}
