//! The activity `process_bulk_batch`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::PROCESS_BULK_BATCH).await
}
