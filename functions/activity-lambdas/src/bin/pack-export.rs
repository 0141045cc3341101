//! The activity `pack_export`.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), activity_lambdas::Error> {
    activity_lambdas::serve_with_keys(&activities::PACK_EXPORT).await
}
