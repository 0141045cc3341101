//! GET /api/v1/compliance/holds

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_compliance(api::list_holds::route()).await
}
