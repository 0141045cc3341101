//! The activity `setup_user_file_workspace`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::SETUP_USER_FILE_WORKSPACE).await
}
