//! The activity `create_sample_data`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::CREATE_SAMPLE_DATA).await
}
