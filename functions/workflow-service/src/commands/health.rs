//! `workflow-service health`

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use settings::Sources;
use workflow_service::Settings;

use super::answers::text;
use super::exit::{CommandError, Exit};
use super::output::{Output, OutputArgs};
use super::remote::{RemoteArgs, Server};
use super::table::Table;

/// A health check of a container gives up after 3 s.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Options of `health`.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// The server's settings: its port is asked, unless --url names another server.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Fails if the server is not ready, too: if store, engine or services do not work.
    #[arg(long)]
    ready: bool,
    /// With --tenant: only these services (several, or separated by commas), e.g. auth.
    #[arg(long, value_delimiter = ',')]
    service: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) async fn run(args: HealthArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let has_tenant = args.remote.has_tenant()?;
    if !has_tenant && !args.service.is_empty() {
        return Err(CommandError::usage("--service is of no use without --tenant, for whom the services are asked"));
    }
    let server = args.remote.open_at(&default_url(&args)?)?;
    let (health, ready) = futures::join!(check(&server, "health"), check(&server, "ready"));
    let services = match has_tenant {
        true => Some(services(&server, &args.service).await),
        false => None,
    };
    // Restarting the process is no help against an engine or a service that does not work: plain `health` does not ask for
    // it.
    let is_fine = health.is_fine && (ready.is_fine || !args.ready) && services.as_ref().is_none_or(|part| part.is_fine);
    if args.output.is_json() {
        let services = services.map(Part::into_json);
        output.json(&json!({
            "healthy": is_fine, "url": server.address(), "health": health.into_json(), "ready": ready.into_json(),
            "coordination": services,
        }))?;
    } else {
        show(&server, &health, &ready, services.as_ref(), output)?;
    }
    Ok(if is_fine { Exit::Done } else { Exit::Failed }.into())
}

/// The server on this machine, as the settings have it.
fn default_url(args: &HealthArgs) -> anyhow::Result<String> {
    if args.remote.has_url()? {
        return Ok(String::new());
    }
    let settings = Settings::of(&Sources::of_process(args.config.as_deref()))?;
    let host = settings.host.to_string();
    // A server on every address is asked on this machine's own.
    let host = match host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() && address.is_ipv4() => "127.0.0.1".to_owned(),
        Ok(address) if address.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host,
    };
    Ok(format!("http://{host}:{}", settings.port))
}

/// One answer, or why there is none.
struct Part {
    is_fine: bool,
    answer: Value,
    problem: Option<String>,
}

impl Part {
    fn of(asked: anyhow::Result<Value>, is_fine: impl FnOnce(&Value) -> bool) -> Self {
        match asked {
            Ok(answer) => Self { is_fine: is_fine(&answer), answer, problem: None },
            Err(error) => Self { is_fine: false, answer: Value::Null, problem: Some(format!("{error:#}")) },
        }
    }

    fn into_json(self) -> Value {
        if self.problem.is_some() { json!({ "problem": self.problem }) } else { self.answer }
    }

    fn problem(&self) -> &str {
        self.problem.as_deref().unwrap_or_default()
    }
}

/// `/health` or `/ready`, whose refusals say what does not work.
async fn check(server: &Server, path: &str) -> Part {
    let answer = async {
        let answer = server.send(server.request(Method::GET, &[path]).timeout(TIMEOUT)).await?;
        let status = answer.status();
        match answer.json().await {
            Ok(Value::Object(answer)) => Ok(Value::Object(answer)),
            _ => anyhow::bail!("{} answers {status}, and no JSON", server.address()),
        }
    };
    Part::of(answer.await, |answer| matches!(text(answer, "status"), "healthy" | "ready"))
}

/// How the services are, as the server finds them.
async fn services(server: &Server, named: &[String]) -> Part {
    let call = server.request(Method::POST, &["api", "v1", "coordination", "health-check"]);
    let body = if named.is_empty() { json!({}) } else { json!({ "services": named }) };
    Part::of(server.ask(call.json(&body)).await, |answer| answer["overall_healthy"] == true)
}

fn show(
    server: &Server,
    health: &Part,
    ready: &Part,
    services: Option<&Part>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let word = |part: &Part, good: &str, bad: &str| if part.is_fine { good } else { bad }.to_owned();
    let mut table = Table::new(["PART", "STATE", "DETAIL"]);
    let version = text(&health.answer, "version");
    let detail = if version.is_empty() { String::new() } else { format!("version {version}") };
    let detail = [server.address().as_str(), &detail, health.problem()].join(" ");
    table.add(["server".to_owned(), word(health, "healthy", "not healthy"), detail]);
    let detail = [text(&ready.answer, "reason"), text(&ready.answer, "detail"), ready.problem()].join(" ");
    table.add(["work".to_owned(), word(ready, "ready", "not ready"), detail.trim().to_owned()]);
    for (part, is_fine) in ready.answer["checks"].as_object().into_iter().flatten() {
        let state = if is_fine == true { "ok" } else { "does not work" };
        table.add([format!("  {part}"), state.to_owned(), String::new()]);
    }
    table.take_lines().iter().try_for_each(|line| output.line(line))?;
    let Some(services) = services else { return Ok(()) };
    output.line("")?;
    if services.problem.is_some() {
        return output.line(format!("the services are not known: {}", services.problem()));
    }
    service_lines(&services.answer).iter().try_for_each(|line| output.line(line))
}

/// In the server's order, which is that of dependency.
fn service_lines(answer: &Value) -> Vec<String> {
    let mut table = Table::new(["SERVICE", "STATE", "LATENCY", "DEPENDS ON", "AFFECTED BY", "REASON"]);
    for details in answer["details"].as_array().into_iter().flatten() {
        let state = if details["healthy"] == true { "healthy" } else { "not healthy" };
        let latency = details["latency_ms"].as_f64().map(|latency| format!("{latency:.0} ms")).unwrap_or_default();
        table.add([
            text(details, "service").to_owned(),
            state.to_owned(),
            latency,
            names(&details["depends_on"]),
            names(&details["affected_by"]),
            text(details, "reason").to_owned(),
        ]);
    }
    let mut lines = table.take_lines();
    let affected = names(&answer["affected_workflows"]);
    if !affected.is_empty() {
        lines.push(format!("affected workflows: {affected}"));
    }
    lines
}

fn names(value: &Value) -> String {
    let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(", ")
}
