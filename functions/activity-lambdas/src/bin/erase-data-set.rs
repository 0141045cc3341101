//! The activity `erase_data_set`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve(&activities::ERASE_DATA_SET).await
}
