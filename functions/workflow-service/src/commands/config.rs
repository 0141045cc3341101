//! `workflow-service config`

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use clock::{SharedClock, SystemClock};
use serde_json::{Value, json};
use settings::{Effective, Origin, Settings, Survey};
use workflow_service::app::temporal_connector;

use super::ServerArgs;
use super::exit::Exit;
use super::output::{Output, OutputArgs};

/// Options of `config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Prints every setting, its value and where that comes from; fails if the settings cannot be used.
pub(crate) fn run(args: &ConfigArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let Survey { effective, settings } = Survey::new(&args.server.sources());
    if !args.output.is_json() {
        output.bytes(text(&effective).as_bytes())?;
        output.bytes(temporal_text(&settings?).as_bytes())?;
        return Ok(Exit::Done.into());
    }
    let problems = settings.as_ref().err().map(|invalid| invalid.problems()).unwrap_or_default();
    let settings: Vec<Value> =
        effective.iter().map(|setting| document(setting, args.server.config.as_deref())).collect();
    output.json(&json!({ "settings": settings, "problems": problems }))?;
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Failed }.into())
}

/// The column at which comments begin.
const COMMENTS: usize = 50;

/// A settings file that says the same.
fn text(effective: &[Effective]) -> String {
    let (mut text, mut last) = (String::new(), "");
    for setting in effective {
        let (section, key) = setting.path.rsplit_once('.').unwrap_or_default();
        if section != last {
            let gap = if last.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{section}]");
            last = section;
        }
        let _ = match (&setting.value, &setting.problem) {
            (None, _) => writeln!(text, "# {key} is not set"),
            (Some(value), None) => writeln!(text, "{:<COMMENTS$} # {}", format!("{key} = {value}"), setting.origin),
            (Some(value), Some(problem)) => writeln!(text, "# {key} = {value} ({}): {problem}", setting.origin),
        };
    }
    text
}

/// What Temporal's own variables and file say, where the settings leave it to them.
fn temporal_text(settings: &Settings) -> String {
    let server = &settings.temporal.server;
    if server.url.is_some() && server.namespace.is_some() {
        return String::new();
    }
    let clock: SharedClock = Arc::new(SystemClock);
    match temporal_connector(settings, &clock) {
        Ok(connector) => format!(
            "\n# Temporal's own variables and file included, its server is {} and the namespace {}.\n",
            connector.address(),
            connector.namespace()
        ),
        Err(problem) => format!("\n# {problem:#}\n"),
    }
}

fn document(setting: &Effective, file: Option<&Path>) -> Value {
    let (origin, name) = match &setting.origin {
        Origin::Default => ("default", None),
        Origin::File => ("file", file.map(|file| file.display().to_string())),
        Origin::Variable(name) => ("environment", Some(name.clone())),
        Origin::CommandLine(option) => ("command_line", Some((*option).to_owned())),
    };
    json!({
        "path": setting.path, "value": setting.value, "origin": origin, "origin_name": name, "problem": setting.problem,
    })
}
