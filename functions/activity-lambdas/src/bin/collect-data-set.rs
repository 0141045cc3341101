//! The activity `collect_data_set`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve_with_keys(&activities::COLLECT_DATA_SET).await
}
