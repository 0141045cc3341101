//! `workflow-service health`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::Url;

pub(crate) async fn run(url: Url) -> anyhow::Result<ExitCode> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    let answer = client.get(url.join("health")?).send().await.context("the server cannot be reached")?;
    if !answer.status().is_success() {
        bail!("the server answered {}", answer.status());
    }
    println!("healthy");
    Ok(ExitCode::SUCCESS)
}
