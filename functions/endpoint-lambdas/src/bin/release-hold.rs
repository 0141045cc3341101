//! DELETE /api/v1/compliance/holds/{hold_id}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_releasing(api::release_hold::route()).await
}
