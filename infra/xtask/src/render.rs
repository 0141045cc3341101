//! `cargo xtask render`

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::Args;
use workflows::{RetryPolicies, RetryPolicy};

/// How often and how patiently a failing call is repeated; what is not given stays as the files have it.
#[derive(Debug, Args)]
pub(crate) struct Render {
    /// Seconds before the second attempt of a call that a service answered.
    #[arg(long, default_value_t = RetryPolicy::ANSWERED.initial_interval_seconds)]
    initial_interval: u64,
    /// Each further wait is this many times the last.
    #[arg(long, default_value_t = RetryPolicy::ANSWERED.backoff_coefficient)]
    backoff_coefficient: f64,
    /// No wait is longer, in seconds.
    #[arg(long, default_value_t = RetryPolicy::ANSWERED.maximum_interval_seconds)]
    maximum_interval: u64,
    /// Attempts in all, the first included.
    #[arg(long, default_value_t = RetryPolicy::ANSWERED.maximum_attempts)]
    maximum_attempts: u32,
    /// Seconds before the second attempt of a call that did not reach a service.
    #[arg(long, default_value_t = RetryPolicy::UNREACHABLE.initial_interval_seconds)]
    unreachable_initial_interval: u64,
    /// Each further wait is this many times the last.
    #[arg(long, default_value_t = RetryPolicy::UNREACHABLE.backoff_coefficient)]
    unreachable_backoff_coefficient: f64,
    /// No wait is longer, in seconds.
    #[arg(long, default_value_t = RetryPolicy::UNREACHABLE.maximum_interval_seconds)]
    unreachable_maximum_interval: u64,
    /// Attempts in all, the first included.
    #[arg(long, default_value_t = RetryPolicy::UNREACHABLE.maximum_attempts)]
    unreachable_maximum_attempts: u32,
    /// The folder to write to; the template's `DefinitionUri` names the file.
    #[arg(long)]
    output: PathBuf,
}

impl Render {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        ensure!(self.maximum_attempts >= 1, "--maximum-attempts must be 1 or more");
        ensure!(self.unreachable_maximum_attempts >= 1, "--unreachable-maximum-attempts must be 1 or more");
        let policies = RetryPolicies {
            answered: RetryPolicy {
                initial_interval_seconds: self.initial_interval,
                backoff_coefficient: self.backoff_coefficient,
                maximum_interval_seconds: self.maximum_interval,
                maximum_attempts: self.maximum_attempts,
            },
            unreachable: RetryPolicy {
                initial_interval_seconds: self.unreachable_initial_interval,
                backoff_coefficient: self.unreachable_backoff_coefficient,
                maximum_interval_seconds: self.unreachable_maximum_interval,
                maximum_attempts: self.unreachable_maximum_attempts,
            },
        };
        std::fs::create_dir_all(&self.output).with_context(|| self.output.display().to_string())?;
        for workflow in &workflows::ALL {
            let definition = workflow.deployed(&policies);
            let diagnostics = asl::validate(&definition);
            ensure!(diagnostics.0.is_empty(), "the policy makes {} invalid:\n{diagnostics}", workflow.name);
            let file = self.output.join(workflow.file());
            let pretty: serde_json::Value = serde_json::from_str(&definition)?;
            std::fs::write(&file, format!("{pretty:#}\n")).with_context(|| file.display().to_string())?;
            println!("{}", file.display());
        }
        Ok(())
    }
}
