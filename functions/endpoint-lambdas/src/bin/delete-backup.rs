//! DELETE /api/v1/coordination/backups/{backup_id}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_backups(api::delete_backup::route()).await
}
