//! The activity `send_notification`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::SEND_NOTIFICATION).await
}
