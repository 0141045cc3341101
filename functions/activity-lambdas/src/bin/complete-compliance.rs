//! The activity `complete_compliance`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve_with_keys(&activities::COMPLETE_COMPLIANCE).await
}
