//! `workflow-service history`

use std::process::ExitCode;

use clap::Args;
use clock::{Clock as _, SystemClock};
use contracts::{Event, Status};
use serde_json::json;

use super::answers::{self, HistoryPage, WorkflowStatus, whole_seconds};
use super::exit::Exit;
use super::news::News;
use super::output::{Output, OutputArgs};
use super::patience::Patience;
use super::progress::Progress;
use super::remote::{RemoteArgs, Server};
use super::table::Table;
use super::timeline::outcome;

/// The longest types and most steps fit in, so that columns stay where they are.
const FOLLOWED_WIDTHS: [usize; 5] = [4, 20, 27, 32, 0];

/// Options of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The workflow's id.
    id: String,
    /// Goes on until the workflow has ended. As JSON, each event is then a document on a line of its own.
    #[arg(long)]
    follow: bool,
    /// Only events of these types, e.g. ActivityTaskFailed (several, or separated by commas).
    #[arg(long, value_delimiter = ',')]
    event_type: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) async fn run(args: HistoryArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let server = args.remote.open()?;
    let mut reader = Reader::new(&args.id, args.event_type);
    let mut table = Table::new(["#", "TIME", "EVENT", "STEP", "OUTCOME"]);
    if args.follow {
        table = table.at_least(FOLLOWED_WIDTHS);
        return Ok(follow(&server, reader, table, args.output, output).await?.into());
    }
    let events = reader.read(&server).await?;
    if args.output.is_json() {
        output.json(&json!({ "workflow_id": args.id, "events": events }))?;
    } else {
        show(&mut table, &events, output)?;
    }
    Ok(Exit::Done.into())
}

async fn follow(
    server: &Server,
    mut reader: Reader,
    mut table: Table,
    args: OutputArgs,
    output: &mut Output,
) -> anyhow::Result<Exit> {
    let (mut patience, mut news, no_bar) = (Patience::default(), News::default(), Progress::hidden());
    let (mut tag, mut status) = (None, Status::Running);
    loop {
        let asked_at = SystemClock.instant();
        // A long poll is for servers without a stream.
        let known = tag.as_deref().filter(|_| news.is_none());
        let changed = patience.ask(&no_bar, async || server.changed_status(&reader.id, known).await).await?;
        if let Some((answer, new_tag)) = changed {
            (tag, status) = (new_tag, answers::read::<WorkflowStatus>(&answer)?.status);
        }
        // After the status: what has ended has all its events.
        let events = patience.ask(&no_bar, async || reader.read(server).await).await?;
        if args.is_json() {
            events.iter().try_for_each(|event| output.json_line(event))?;
        } else {
            show(&mut table, &events, output)?;
            output.flush()?;
        }
        match status {
            _ if output.is_closed() => return Ok(Exit::Done),
            Status::Completed => return Ok(Exit::Done),
            status if !status.is_open() => return Ok(Exit::EndedOtherwise),
            _ => news.wait(server, &reader.id, reader.last_event_id, asked_at).await?,
        }
    }
}

fn show(table: &mut Table, events: &[Event], output: &mut Output) -> anyhow::Result<()> {
    for event in events {
        let details = &event.details;
        let mut step = details["activity_id"].as_str().unwrap_or_default().to_owned();
        if let Some(attempt) = details["attempt"].as_u64().filter(|attempt| *attempt > 1) {
            step.push_str(&format!(" (attempt {attempt})"));
        }
        let time = whole_seconds(event.timestamp);
        table.add([event.event_id.to_string(), time, event.event_type.clone(), step, outcome(event)]);
    }
    table.take_lines().iter().try_for_each(|line| output.line(line))
}

/// Reads a history, and later what has been added to it.
#[derive(Debug)]
pub(crate) struct Reader {
    id: String,
    types: Vec<String>,
    /// Of the last page that was read.
    token: Option<String>,
    last_event_id: u64,
}

impl Reader {
    /// From the first event on.
    pub(crate) fn new(id: &str, types: Vec<String>) -> Self {
        Self { id: id.to_owned(), types, token: None, last_event_id: 0 }
    }

    /// All events that it has not read yet. Where that fails, it goes on from where it was.
    pub(crate) async fn read(&mut self, server: &Server) -> anyhow::Result<Vec<Event>> {
        let (mut unread, mut token) = (Vec::<Event>::new(), self.token.clone());
        loop {
            let page = server.history(&self.id, &self.types, token.as_deref()).await?;
            let page: HistoryPage = answers::read(&page)?;
            // The last page is read again as long as events are added to it.
            unread.extend(page.events.into_iter().filter(|event| event.event_id > self.last_event_id));
            if page.next_page_token.is_none() {
                break;
            }
            token = page.next_page_token;
        }
        self.token = token;
        self.last_event_id = unread.last().map_or(self.last_event_id, |event| event.event_id);
        Ok(unread)
    }
}
