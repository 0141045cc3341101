//! GET /api/v1/audit

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve(api::list_audit_rows::route()).await
}
