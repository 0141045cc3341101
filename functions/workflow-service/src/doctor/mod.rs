//! What is wrong with an installation, and what to do. One file per subject; nothing is written by any of them.

mod aws;
mod configuration;
mod data_directory;
mod key_file;
mod machine;
mod port;
mod process;
mod services;
mod temporal;

use std::sync::Arc;

use clock::{SharedClock, SystemClock};
use serde::Serialize;
use settings::{ActivityPlace, Settings, Sources, StoreKind};

/// What a check came to; the last is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is as it should be.
    Ok,
    /// The service works, but something should be looked at.
    Warning,
    /// The service does not work, or not for everybody.
    Problem,
}

impl Outcome {
    /// E.g. `problem`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, e.g. `port`.
    pub check: &'static str,
    /// How it is.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// What to do, if there is something to do.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Ok, detail: detail.into(), advice: None }
    }

    fn warning(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Warning, detail: detail.into(), advice: Some(advice.into()) }
    }

    fn problem(check: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, outcome: Outcome::Problem, detail: detail.into(), advice: Some(advice.into()) }
    }
}

/// Checks everything that the settings of these sources say.
pub async fn examine(sources: &Sources) -> Vec<Finding> {
    let mut findings = vec![machine::version(), machine::open_files()];
    let (found, settings) = configuration::examine(sources);
    findings.extend(found);
    match settings {
        Some(settings) => findings.extend(examine_surroundings(&settings).await),
        None => findings.push(Finding::warning(
            "the rest",
            "data directory, port, services and engine are not checked without usable settings",
            "correct the settings and repeat this command",
        )),
    }
    findings
}

/// Checks what the service stands on.
async fn examine_surroundings(settings: &Settings) -> Vec<Finding> {
    let clock: SharedClock = Arc::new(SystemClock);
    let mut findings = Vec::new();
    match &settings.store {
        StoreKind::Sqlite => {
            let (found, is_running) = port::examine(settings).await;
            findings.extend(data_directory::examine(&settings.data_dir, is_running));
            findings.push(found);
        }
        StoreKind::Dynamodb { .. } => findings.push(aws::examine(settings, &*clock).await),
    }
    // Where functions run the activities, nothing else calls the services, and the keys are in AWS KMS.
    if settings.temporal.activities == ActivityPlace::InProcess {
        findings.push(key_file::examine(&settings.key_file));
        findings.extend(services::examine(settings, &*clock).await);
    }
    findings.extend(temporal::examine(settings, &clock).await);
    findings
}
