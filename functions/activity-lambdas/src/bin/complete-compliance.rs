//! The activity `complete_compliance`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::COMPLETE_COMPLIANCE).await
}
