//! What the template creates in AWS, created in its stand-ins.

use anyhow::Context as _;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use workflows::RetryPolicies;

pub(crate) const REGION: &str = "us-east-1";

fn credentials() -> Credentials {
    Credentials::new("local", "local", None, None, "local")
}

pub(crate) async fn create_table(endpoint: &str, table: &str) -> anyhow::Result<()> {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint);
    let client = aws_sdk_dynamodb::Client::from_conf(config.build());
    store_aws::create_table(&client, table).await.context("the table cannot be created")
}

/// moto asks for no signature.
pub(crate) async fn create_bucket(endpoint: &str, bucket: &str) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let created = http.put(format!("{endpoint}/{bucket}")).send().await?;
    created.error_for_status().map(drop).context("the bucket cannot be created")
}

/// The machines' names begin with this, as they begin with the stack's name in the deployment.
const MACHINE_PREFIX: &str = "local-";

/// The state machines, whose Tasks call the functions by their names: the begin of the ARNs of all of them.
pub(crate) async fn create_state_machines(endpoint: &str, bucket: &str) -> anyhow::Result<String> {
    let config = aws_sdk_sfn::Config::builder()
        .behavior_version(aws_sdk_sfn::config::BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(credentials())
        .endpoint_url(endpoint);
    let client = aws_sdk_sfn::Client::from_conf(config.build());
    for workflow in &workflows::ALL {
        client
            .create_state_machine()
            .name(format!("{MACHINE_PREFIX}{}", workflow.kind.as_str().replace('_', "-")))
            .definition(workflow.bound(&RetryPolicies::default(), bucket, workflows::function_of))
            .role_arn("arn:aws:iam::123456789012:role/local")
            .send()
            .await
            .with_context(|| format!("the state machine of {} cannot be created", workflow.kind))?;
    }
    Ok(format!("arn:aws:states:{REGION}:123456789012:stateMachine:{MACHINE_PREFIX}"))
}
