//! The activity `update_user_tenant_context`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::UPDATE_USER_TENANT_CONTEXT).await
}
