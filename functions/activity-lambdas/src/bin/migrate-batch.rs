//! The activity `migrate_batch`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve_with_keys(&activities::MIGRATE_BATCH).await
}
