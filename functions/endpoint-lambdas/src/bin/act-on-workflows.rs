//! POST /api/v1/workflows/actions

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_operating(api::act_on_workflows::route()).await
}
