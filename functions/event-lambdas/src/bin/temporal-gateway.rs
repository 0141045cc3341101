//! Other functions, which ask Temporal through this one

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), event_lambdas::Error> {
    event_lambdas::temporal_gateway::serve().await
}
