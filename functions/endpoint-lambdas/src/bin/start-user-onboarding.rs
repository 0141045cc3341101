//! POST /api/v1/workflows/user-onboarding

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), endpoint_lambdas::Error> {
    endpoint_lambdas::serve_starting(api::start_user_onboarding::route()).await
}
