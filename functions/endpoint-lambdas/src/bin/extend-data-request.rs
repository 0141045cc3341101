//! POST /api/v1/compliance/requests/{compliance_id}/extension

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_compliance(api::extend_data_request::route()).await
}
