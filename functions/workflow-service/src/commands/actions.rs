//! What cancel, pause, resume, terminate and retry have in common: they act on workflows that are named, or on all that
//! filters find. One workflow is a matter of its own endpoint; of several, each call of `POST /workflows/actions` takes as
//! many as the server likes, and its page token goes on.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Args;
use contracts::Status;
use reqwest::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answers::text;
use super::exit::{CommandError, Exit};
use super::filters::Filters;
use super::list;
use super::output::{Output, OutputArgs};
use super::patience::Patience;
use super::progress::Progress;
use super::remote::{RemoteArgs, Server};
use super::table::Table;

/// The most ids that one call takes.
const IDS_PER_CALL: usize = 100;

/// What can be done to workflows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Stops before the next step, and undoes.
    Cancel,
    /// Stops before the next step, until resumed.
    Pause,
    /// Goes on.
    Resume,
    /// Stops without undoing.
    Terminate,
    /// Runs again.
    Retry,
    /// Does again what failed of a job.
    RetryFailed,
    /// Undoes what still stands.
    Undo,
    /// Takes back what was migrated.
    Reverse,
}

impl Action {
    /// Its name at the API.
    fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Terminate => "terminate",
            Self::Retry | Self::RetryFailed => "retry",
            Self::Undo => "undo",
            Self::Reverse => "reverse",
        }
    }

    /// The end of the path of the endpoint for one workflow.
    fn endpoint(self) -> &'static str {
        if self == Self::Undo { "retry" } else { self.name() }
    }

    /// Which workflows it makes sense for.
    fn statuses(self) -> &'static [Status] {
        match self {
            Self::Cancel | Self::Terminate => &[Status::Running, Status::Paused],
            Self::Pause => &[Status::Running],
            Self::Resume => &[Status::Paused],
            Self::Retry | Self::RetryFailed => &[Status::Failed, Status::TimedOut],
            Self::Undo => &[Status::Failed, Status::TimedOut, Status::Terminated],
            Self::Reverse => &[Status::Completed],
        }
    }

    /// What people are asked.
    fn question(self, count: u64) -> String {
        let workflows = if count == 1 { "1 workflow".to_owned() } else { format!("{count} workflows") };
        match self {
            Self::Cancel => format!("Cancel {workflows}, and undo what was done?"),
            Self::Pause => format!("Pause {workflows}?"),
            Self::Resume => format!("Resume {workflows}?"),
            Self::Terminate => format!("Terminate {workflows} at once, without undoing anything?"),
            Self::Retry | Self::RetryFailed => format!("Retry {workflows}?"),
            Self::Undo => format!("Undo what {workflows} left behind?"),
            Self::Reverse => format!("Take back what {workflows} migrated?"),
        }
    }
}

/// Which workflows, and how.
#[derive(Debug, Args)]
pub(crate) struct ActionArgs {
    /// The workflows' ids.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All workflows that the filters find; without --status those in a status that this makes sense for.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    /// Shows what would be done, and does nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the audit log.
    #[arg(long)]
    reason: Option<String>,
    /// Asks nothing.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Does it.
pub(crate) async fn run(action: Action, mut args: ActionArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.remote.open()?;
    if !args.all && !args.filters.is_empty() {
        return Err(CommandError::usage("filters are for --all; workflows that are named need none"));
    }
    if action == Action::RetryFailed && args.ids.len() != 1 {
        return Err(CommandError::usage("--only is for one workflow at a time"));
    }
    if args.all && args.filters.status.is_empty() {
        args.filters.status = action.statuses().to_vec();
    }
    let count = match args.all {
        true => list::count(&server, &args.filters).await?,
        false => u64::try_from(args.ids.len())?,
    };
    let needs_consent = !args.dry_run && !args.yes && (args.all && count > 0 || action == Action::Terminate);
    if needs_consent && !has_consent(&action.question(count))? {
        anyhow::bail!("nothing was done");
    }
    match args.ids.as_slice() {
        [id] if !args.dry_run => one(&server, action, id, args.reason.as_deref(), args.output, output).await,
        _ => many(&server, action, &args, count, output).await,
    }
}

/// Asks whoever sits at the terminal.
fn has_consent(question: &str) -> anyhow::Result<bool> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Err(CommandError::usage("there is no terminal to ask for consent: give --yes, or --dry-run first"));
    }
    let _ = write!(stderr, "{question} [y/N] ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Does it to one workflow.
pub(crate) async fn one(
    server: &Server,
    action: Action,
    id: &str,
    reason: Option<&str>,
    args: OutputArgs,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let mut body = Map::new();
    body.extend(reason.map(|reason| ("reason".to_owned(), json!(reason))));
    match action {
        Action::Undo => drop(body.insert("undo".to_owned(), json!(true))),
        Action::RetryFailed => drop(body.insert("only".to_owned(), json!("failed"))),
        _ => {}
    }
    let mut answer = server.act(id, action.endpoint(), &Value::Object(body), &new_key()).await?;
    if args.is_json() {
        answer["outcome"] = json!("done");
        output.json(&json!({ "action": action.name(), "dry_run": false, "results": [answer] }))?;
        return Ok(Exit::Done.into());
    }
    // First, for whoever goes on with it.
    answer["new_workflow_id"].as_str().into_iter().try_for_each(|id| output.line(id))?;
    output.line(format!("{id}: {}", text(&answer, "message")))?;
    let may_stand: Vec<&str> =
        answer["may_still_stand"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !may_stand.is_empty() {
        output.line(format!("may still stand: {}", may_stand.join(", ")))?;
    }
    Ok(Exit::Done.into())
}

async fn many(
    server: &Server,
    action: Action,
    args: &ActionArgs,
    count: u64,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    let mut body = json!({ "action": action.name(), "dry_run": args.dry_run });
    if let Some(reason) = &args.reason {
        body["reason"] = json!(reason);
    }
    let selections: Vec<(&str, Value)> = match args.all {
        true => vec![("filter", args.filters.json())],
        false => args.ids.chunks(IDS_PER_CALL).map(|ids| ("ids", json!(ids))).collect(),
    };
    let mut report = Report::new(args.output, count);
    let mut failed = None;
    for (name, selection) in selections {
        let mut body = body.clone();
        body[name] = selection;
        if let Err(error) = all_pages(server, body, &mut report, output).await {
            failed = Some(error);
            break;
        }
    }
    // What was done before it failed is told in any case.
    let exit = report.finish(action, args.dry_run, output)?;
    match failed {
        Some(error) => Err(error),
        None => Ok(exit.into()),
    }
}

async fn all_pages(server: &Server, mut body: Value, report: &mut Report, output: &mut Output) -> anyhow::Result<()> {
    let mut patience = Patience::default();
    loop {
        let key = new_key();
        let call = async || {
            let call = server.request(Method::POST, &["api", "v1", "workflows", "actions"]);
            server.ask(call.header("idempotency-key", &key).json(&body)).await
        };
        // Doing it twice is doing it once, so that a call whose answer was lost can be repeated.
        let mut answer = patience.ask(&report.progress, call).await?;
        report.add(answer["results"].as_array_mut().map(std::mem::take).unwrap_or_default(), output)?;
        let token = answer["next_page_token"].take();
        if token.is_null() {
            return Ok(());
        }
        if body["page_token"] == token {
            anyhow::bail!("the server answers with the same page again and again");
        }
        body["page_token"] = token;
    }
}

fn new_key() -> String {
    Uuid::now_v7().to_string()
}

/// What became of each workflow.
struct Report {
    args: OutputArgs,
    results: Vec<Value>,
    table: Table,
    count: u64,
    progress: Progress,
}

impl Report {
    fn new(args: OutputArgs, count: u64) -> Self {
        let table = Table::new(["WORKFLOW", "OUTCOME", "STATUS", "DETAIL"]);
        Self { args, results: Vec::new(), table, count, progress: Progress::begin() }
    }

    fn add(&mut self, results: Vec<Value>, output: &mut Output) -> anyhow::Result<()> {
        for result in &results {
            let part = |name: &str| text(result, name).to_owned();
            let detail = match result["new_workflow_id"].as_str() {
                Some(id) => format!("{id} {}", part("detail")),
                None => part("detail"),
            };
            self.table.add([part("workflow_id"), part("outcome"), part("status"), detail]);
        }
        self.results.extend(results);
        if !self.args.is_json() {
            let lines = self.table.take_lines();
            self.progress.suspend(|| {
                lines.iter().try_for_each(|line| output.line(line))?;
                output.flush()
            })?;
        }
        let done = u64::try_from(self.results.len())?;
        self.progress.set(done, self.count.max(done), None, "");
        Ok(())
    }

    fn finish(self, action: Action, dry_run: bool, output: &mut Output) -> anyhow::Result<Exit> {
        let Self { args, results, progress, .. } = self;
        drop(progress);
        let exit = results.iter().map(|result| exit_of(text(result, "outcome"))).max().unwrap_or(Exit::Done);
        if args.is_json() {
            output.json(&json!({ "action": action.name(), "dry_run": dry_run, "results": results }))?;
            return Ok(exit);
        }
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for outcome in results.iter().map(|result| text(result, "outcome")) {
            match counts.iter_mut().find(|(name, _)| *name == outcome) {
                Some((_, count)) => *count += 1,
                None => counts.push((outcome, 1)),
            }
        }
        let counts: Vec<String> = counts.into_iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        output.line(if counts.is_empty() {
            "no such workflows".to_owned()
        } else {
            format!("\n{}", counts.join(", "))
        })?;
        Ok(exit)
    }
}

fn exit_of(outcome: &str) -> Exit {
    match outcome {
        "done" | "would" => Exit::Done,
        "failed" => Exit::Unavailable,
        _ => Exit::Refused,
    }
}
