//! The activity `create_user_profile`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::CREATE_USER_PROFILE).await
}
