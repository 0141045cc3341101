//! The activity `plan_migration`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::PLAN_MIGRATION).await
}
