//! The activity `update_tenant_user_membership`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::UPDATE_TENANT_USER_MEMBERSHIP).await
}
