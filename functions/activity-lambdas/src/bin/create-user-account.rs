//! The activity `create_user_account`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::CREATE_USER_ACCOUNT).await
}
