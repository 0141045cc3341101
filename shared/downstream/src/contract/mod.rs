//! The contract of the services as rules, each of which is tried against a running service.
//!
//! A rule works with things of its own, under ids that begin with `contract-check-`, and takes them back when it is over.

mod answer;
mod catalog;
mod cleaning;
mod content;
mod creation;
mod digests;
mod errors;
mod example;
mod exchange;
mod fences;
mod health;
mod idempotence;
mod isolation;
mod logs;
mod operations;
mod pages;
mod probe;
mod request;
mod target;
mod undo;

use std::pin::Pin;

use serde::Serialize;

use crate::TransportFault;
use probe::Probe;
pub use target::{InvalidTarget, Target};

/// Something that a service promises.
pub struct Rule {
    /// Group and promise, e.g. `undo.leaves-a-tombstone`.
    pub name: &'static str,
    /// What has been proved when it passes.
    pub proves: &'static str,
    /// What to change in a service for which it fails.
    pub change: &'static str,
    run: Run,
}

type Run = for<'p> fn(&'p mut Probe) -> Pin<Box<dyn Future<Output = Result<(), Stop>> + Send + 'p>>;

/// Why a rule did not come to its end.
enum Stop {
    /// The service breaks the promise.
    Broken(Breach),
    /// The rule cannot be tried, and why.
    Skipped(String),
}

/// How a service breaks a promise, without anything that it holds: data may be personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// The request.
    pub sent: String,
    /// Status and fields of the answer.
    pub came: String,
    /// What should have come.
    pub expected: String,
}

/// What came of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The service keeps the promise.
    Kept,
    /// The service breaks it.
    Broken(Breach),
    /// It was not tried, and why.
    Skipped(String),
}

/// What was found by a rule.
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// What came of it.
    pub verdict: Verdict,
    /// The ids of the rule's things that the service still has.
    pub left: Vec<String>,
}

/// Every rule, in the order in which they are tried.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    let groups = [
        health::RULES,
        catalog::RULES,
        errors::RULES,
        creation::RULES,
        idempotence::RULES,
        undo::RULES,
        exchange::RULES,
        fences::RULES,
        pages::RULES,
        digests::RULES,
        operations::RULES,
        logs::RULES,
        isolation::RULES,
        content::RULES,
    ];
    groups.into_iter().flatten()
}

/// Tries every rule; `told` hears of each finding at once.
///
/// # Errors
/// The service cannot be reached.
pub async fn check(target: &Target, mut told: impl FnMut(&Finding)) -> Result<Vec<Finding>, TransportFault> {
    let mut probe = Probe::open(target).await?;
    let mut findings = Vec::new();
    for rule in rules() {
        let verdict = match (rule.run)(&mut probe).await {
            Ok(()) => Verdict::Kept,
            Err(Stop::Broken(breach)) => Verdict::Broken(breach),
            Err(Stop::Skipped(reason)) => Verdict::Skipped(reason),
        };
        let finding = Finding { rule, verdict, left: probe.clean_up().await };
        told(&finding);
        findings.push(finding);
    }
    Ok(findings)
}
