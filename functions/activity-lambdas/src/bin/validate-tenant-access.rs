//! The activity `validate_tenant_access`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::VALIDATE_TENANT_ACCESS).await
}
