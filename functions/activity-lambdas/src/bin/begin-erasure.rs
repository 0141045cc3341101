//! The activity `begin_erasure`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::BEGIN_ERASURE).await
}
