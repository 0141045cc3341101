//! GET /api/v1/compliance/requests/{compliance_id}/certificate

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_compliance(api::get_certificate::route()).await
}
