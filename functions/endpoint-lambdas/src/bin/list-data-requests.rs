//! GET /api/v1/compliance/requests

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_compliance(api::list_data_requests::route()).await
}
