//! The activity `complete_bulk_operation`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::COMPLETE_BULK_OPERATION).await
}
