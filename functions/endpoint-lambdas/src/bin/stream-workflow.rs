//! GET /api/v1/workflows/{workflow_id}/stream

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve(api::stream_workflow::route()).await
}
