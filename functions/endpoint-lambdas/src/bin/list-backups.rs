//! GET /api/v1/coordination/backups

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_backups(api::list_backups::route()).await
}
