//! The activity `revoke_user_sessions`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::REVOKE_USER_SESSIONS).await
}
