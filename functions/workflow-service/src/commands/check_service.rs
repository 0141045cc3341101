//! `workflow-service check-service URL`: whether a service keeps the contract, rule by rule.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use clock::SystemClock;
use downstream::contract::{self, Breach, Finding, InvalidTarget, Target, Verdict};
use downstream::{HttpTransport, Service};
use serde_json::{Value, json};

use super::exit::{CommandError, Exit};
use super::output::{Output, say};

/// Options of `check-service`.
#[derive(Debug, Args)]
pub(crate) struct CheckServiceArgs {
    /// The service's base URL, before /api/v1; https, except on a loopback address.
    url: String,
    /// Which service it is: auth, user, tenant, file or notifications.
    #[arg(long = "as", value_name = "SERVICE", value_parser = service)]
    service: Service,
    /// The tenant in which the rules create, change and delete things of their own.
    #[arg(long)]
    tenant: String,
    /// Prints one JSON document.
    #[arg(long)]
    json: bool,
    /// The token that lets us in (`Authorization: Bearer`); better in the variable, as others can see arguments.
    #[arg(long, env = "WORKFLOW_CHECK_TOKEN", hide_env_values = true)]
    token: Option<Token>,
}

/// A token, which nothing shows.
#[derive(Clone)]
struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl From<String> for Token {
    fn from(token: String) -> Self {
        Self(token)
    }
}

fn service(name: &str) -> Result<Service, String> {
    let names = || Service::ALL.map(Service::as_str).join(", ");
    Service::named(name).ok_or_else(|| format!("known are {}", names()))
}

pub(crate) async fn run(args: CheckServiceArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let target = target(&args).map_err(|error| CommandError::usage(error.to_string()))?;
    let mut written = Ok(());
    let findings = contract::check(&target, |finding| {
        if !args.json && written.is_ok() {
            written = lines(finding).iter().try_for_each(|line| output.line(line));
        }
    });
    let service = args.service.as_str();
    // Not the server of workflows, which has an exit code of its own when it is away: what is named by the arguments.
    let findings = findings.await.map_err(|fault| CommandError::usage(format!("{service} {fault}")))?;
    written?;
    let count = |is_so: fn(&Verdict) -> bool| findings.iter().filter(|finding| is_so(&finding.verdict)).count();
    let kept = count(|verdict| matches!(verdict, Verdict::Kept));
    let broken = count(|verdict| matches!(verdict, Verdict::Broken(_)));
    let skipped = findings.len() - kept - broken;
    if args.json {
        let rules: Value = findings.iter().map(document).collect();
        output.json(&json!({
            "service": service, "tenant": args.tenant, "ok": kept, "failed": broken, "skipped": skipped, "rules": rules,
        }))?;
    } else {
        output.line(format!("{service}: {kept} rules ok, {broken} failed, {skipped} skipped"))?;
    }
    for left in findings.iter().flat_map(|finding| &finding.left) {
        say(format!("{left} stays in the service: it could neither be undone nor deleted"));
    }
    Ok(if broken == 0 { Exit::Done } else { Exit::Failed }.into())
}

fn target(args: &CheckServiceArgs) -> Result<Target, InvalidTarget> {
    let transport = Arc::new(HttpTransport::default());
    let target = Target::new(transport, Arc::new(SystemClock), args.service, &args.url, &args.tenant)?;
    match args.token.as_ref().filter(|Token(token)| !token.is_empty()) {
        Some(Token(token)) => target.with_token(token),
        None => Ok(target),
    }
}

/// What people are told of a rule.
fn lines(Finding { rule, verdict, .. }: &Finding) -> Vec<String> {
    match verdict {
        Verdict::Kept => vec![format!("ok       {:<36} {}", rule.name, rule.proves)],
        Verdict::Skipped(reason) => vec![format!("skipped  {:<36} because {reason}", rule.name)],
        Verdict::Broken(Breach { sent, came, expected }) => vec![
            format!("FAILED   {:<36} {}", rule.name, rule.proves),
            format!("         sent      {sent}"),
            format!("         came      {came}"),
            format!("         expected  {expected}"),
            format!("         change    {}", rule.change),
        ],
    }
}

/// What programs are told of a rule.
fn document(Finding { rule, verdict, left }: &Finding) -> Value {
    let (outcome, reason, breach) = match verdict {
        Verdict::Kept => ("ok", None, None),
        Verdict::Skipped(reason) => ("skipped", Some(reason), None),
        Verdict::Broken(breach) => ("failed", None, Some(breach)),
    };
    json!({
        "rule": rule.name, "proves": rule.proves, "outcome": outcome, "reason": reason, "breach": breach,
        "change": breach.map(|_| rule.change), "left": left,
    })
}
