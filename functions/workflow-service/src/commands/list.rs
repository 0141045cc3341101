//! `workflow-service list`

use std::process::ExitCode;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::answers::{seconds, text};
use super::exit::Exit;
use super::filters::Filters;
use super::output::{Output, OutputArgs};
use super::remote::{PAGE_SIZE, RemoteArgs, Server};
use super::table::Table;

/// Options of `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filters: Filters,
    /// At most so many, the newest; all unless given.
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) async fn run(args: ListArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.remote.open()?;
    let mut table = Table::new(["WORKFLOW", "STATUS", "STARTED", "UPDATED", "USER"]);
    let (mut rows, mut token, mut left) = (Vec::new(), None::<String>, args.limit.unwrap_or(u64::MAX));
    let mut last = loop {
        let mut page = page(&server, &args.filters, left.min(PAGE_SIZE), token.as_deref()).await?;
        let mut workflows = page["workflows"].as_array_mut().map(std::mem::take).unwrap_or_default();
        workflows.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= u64::try_from(workflows.len())?;
        if args.output.is_json() {
            rows.append(&mut workflows);
        } else {
            workflows.iter().for_each(|workflow| table.add(row(workflow)));
            table.take_lines().iter().try_for_each(|line| output.line(line))?;
            output.flush()?;
        }
        token = page["next_page_token"].as_str().map(str::to_owned);
        if token.is_none() || left == 0 || output.is_closed() {
            break page;
        }
    };
    if args.output.is_json() {
        let counts = last["counts"].take();
        let (total, is_exact) = (last["total_count"].take(), last["total_is_exact"] != false);
        let list = json!({ "workflows": rows, "total_count": total, "total_is_exact": is_exact, "counts": counts });
        output.json(&list)?;
    } else if let Some(summary) = summary(&last, token.is_some()) {
        output.line(format!("\n{summary}"))?;
    }
    Ok(Exit::Done.into())
}

/// How many workflows there are.
pub(crate) async fn count(server: &Server, filters: &Filters) -> anyhow::Result<u64> {
    Ok(page(server, filters, 1, None).await?["total_count"].as_u64().unwrap_or_default())
}

async fn page(server: &Server, filters: &Filters, size: u64, token: Option<&str>) -> anyhow::Result<Value> {
    let mut query = filters.query();
    query.push(("page_size", size.max(1).to_string()));
    query.extend(token.map(|token| ("page_token", token.to_owned())));
    server.ask(server.request(Method::GET, &["api", "v1", "workflows"]).query(&query)).await
}

fn row(workflow: &Value) -> [String; 5] {
    [
        text(workflow, "workflow_id").to_owned(),
        // Why is in `describe`.
        match workflow["damaged"].is_string() {
            true => format!("{} (damaged)", text(workflow, "status")),
            false => text(workflow, "status").to_owned(),
        },
        seconds(workflow, "started_at"),
        seconds(workflow, "updated_at"),
        text(workflow, "user_id").to_owned(),
    ]
}

/// How many there are, where there is more to say than the rows do.
fn summary(page: &Value, is_cut_off: bool) -> Option<String> {
    let total = page["total_count"].as_u64()?;
    let at_least = if page["total_is_exact"] == false { "at least " } else { "" };
    let counts = page["counts"].as_object().into_iter().flatten();
    let counts =
        counts.filter(|(_, count)| count.as_u64() != Some(0)).map(|(status, count)| format!("{count} {status}"));
    let counts: Vec<String> = counts.collect();
    match (counts.is_empty(), is_cut_off) {
        (true, false) if total > 0 => None,
        (true, _) => Some(format!("{at_least}{total} in all")),
        (false, _) => Some(format!("{at_least}{total} in all; of every status: {}", counts.join(", "))),
    }
}
