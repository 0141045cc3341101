//! The activity `get_tenant_context`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::GET_TENANT_CONTEXT).await
}
