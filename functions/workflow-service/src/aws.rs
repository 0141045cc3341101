//! Clients of AWS for a process that is no function: its credentials are in variables, a profile, or those of the role of its
//! container or machine, which the SDK asks for again before they expire.

use anyhow::Context as _;
use aws_clients::{Clients, http_client};
use aws_config::BehaviorVersion;
use aws_credential_types::provider::ProvideCredentials as _;

/// # Errors
/// That there are no credentials, or no region, with what was tried.
pub(crate) async fn clients(has_own_roots: bool) -> anyhow::Result<Clients> {
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client(has_own_roots)).load().await;
    config.region().context("no region of AWS: set AWS_REGION")?;
    let credentials = config.credentials_provider().context("no credentials of AWS")?;
    credentials.provide_credentials().await.context("no credentials of AWS")?;
    Ok(Clients::new(config))
}
