//! GET /api/v1/compliance/requests/{compliance_id}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_compliance(api::get_data_request::route()).await
}
