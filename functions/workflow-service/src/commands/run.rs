//! `workflow-service run FILE`: a state machine on a clock of its own, its functions mocked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use asl::{
    ChildPath, Command, Definition, Event, ExecutionStart, ExecutionTree, Happening, Outcome, TaskId, Told, Trace,
    World,
};
use clap::Args;
use contracts::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::output::{Output, OutputArgs, say};

/// Options of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// An Amazon States Language file.
    file: PathBuf,
    /// A JSON file with the execution's input; `{}` if not given.
    #[arg(long)]
    input: Option<PathBuf>,
    /// A JSON file that says what functions answer and which objects there are:
    /// {"Tasks": {"STATE OR FUNCTION": [{"Return": ANY, "DelaySeconds": N} or {"Throw": {"Error": "NAME", "Cause": "TEXT"}}]},
    /// "Objects": {"BUCKET/KEY": "TEXT", or JSON}}. The n-th call takes the n-th answer, and further ones the last.
    #[arg(long, verbatim_doc_comment)]
    mock: Option<PathBuf>,
    /// Shows what happens in the children of distributed Maps, too.
    #[arg(long)]
    children: bool,
    /// Prints JSON lines.
    #[arg(long, conflicts_with = "output")]
    json: bool,
    #[command(flatten)]
    output: OutputArgs,
    /// Where random numbers come from: jitter of retries, $random, $uuid.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &RunArgs, output: &mut Output) -> anyhow::Result<ExitCode> {
    let definition = Definition::load(&super::read(&args.file)?).with_context(|| args.file.display().to_string())?;
    let input = match &args.input {
        Some(file) => serde_json::from_str(&super::read(file)?).with_context(|| file.display().to_string())?,
        None => json!({}),
    };
    let mock = match &args.mock {
        Some(file) => Mock::read(&super::read(file)?).with_context(|| file.display().to_string())?,
        None => Mock::default(),
    };
    let name = args.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let start = ExecutionStart {
        input: input.clone(),
        execution_id: "run".to_owned(),
        execution_name: "run".to_owned(),
        state_machine_id: name.clone(),
        state_machine_name: name,
        role_arn: String::new(),
        seed: args.seed,
    };
    let began_at = Timestamp::UNIX_EPOCH;
    let mut timeline = Timeline {
        mock,
        args,
        output,
        written: Ok(()),
        document: Vec::new(),
        calls: BTreeMap::new(),
        events: 0,
        tasks: BTreeMap::new(),
        unmocked: None,
    };
    let root = ChildPath::default();
    timeline.show(began_at, &root, "ExecutionStarted", "", &json!({ "input": input }));
    let tree = ExecutionTree::start(Arc::new(definition), start, began_at);
    let outcome = asl::simulate(tree, began_at, &mut timeline);
    timeline.written?;
    if args.output.is_json() {
        timeline.output.json(&json!({ "events": timeline.document }))?;
    }
    if let Some(unmocked) = timeline.unmocked {
        bail!(unmocked);
    }
    for name in timeline.mock.tasks.keys().filter(|name| !timeline.calls.contains_key(*name)) {
        say(format!("never called: {name}"));
    }
    match outcome {
        None => bail!("the execution waits for nothing"),
        Some(Outcome::Succeeded { .. }) => Ok(ExitCode::SUCCESS),
        Some(Outcome::Failed { .. }) => Ok(ExitCode::FAILURE),
    }
}

/// What `--mock` says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Mock {
    tasks: BTreeMap<String, Answers>,
    objects: BTreeMap<String, Value>,
}

/// One answer, or one for each call.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answers {
    Each(Vec<Answer>),
    All(Answer),
}

impl Answers {
    fn all(&self) -> &[Answer] {
        match self {
            Self::Each(answers) => answers,
            Self::All(answer) => std::slice::from_ref(answer),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Answer {
    #[serde(rename = "Return", default, deserialize_with = "present")]
    result: Option<Value>,
    throw: Option<Throw>,
    #[serde(default)]
    delay_seconds: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Throw {
    error: String,
    #[serde(default)]
    cause: String,
}

/// `null` is an answer too.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Mock {
    fn read(text: &str) -> anyhow::Result<Self> {
        let mock: Self = serde_json::from_str(text)?;
        let mut wrong = Vec::new();
        for (name, answers) in &mock.tasks {
            let answers = answers.all();
            if answers.is_empty() {
                wrong.push(format!("Tasks/{name}: there is no answer"));
            }
            for (index, answer) in answers.iter().enumerate() {
                if answer.result.is_some() == answer.throw.is_some() {
                    wrong.push(format!("Tasks/{name}/{index}: expected either Return or Throw"));
                }
                if Duration::try_from_secs_f64(answer.delay_seconds).is_err() {
                    wrong.push(format!("Tasks/{name}/{index}/DelaySeconds: expected a number of seconds"));
                }
            }
        }
        if wrong.is_empty() { Ok(mock) } else { bail!("{}", wrong.join("\n")) }
    }
}

/// Prints what happens, and answers for the functions.
struct Timeline<'a> {
    mock: Mock,
    args: &'a RunArgs,
    output: &'a mut Output,
    /// Whether everything so far could be written.
    written: anyhow::Result<()>,
    /// The events, where one document is to have them all.
    document: Vec<Value>,
    /// By the name that the mock has for what is called.
    calls: BTreeMap<String, usize>,
    events: u64,
    /// The states that attempts under way belong to.
    tasks: BTreeMap<(ChildPath, TaskId), String>,
    /// A call that nobody has an answer for.
    unmocked: Option<String>,
}

impl World for Timeline<'_> {
    fn call(&mut self, task: &Command) -> (Duration, Result<Value, (String, String)>) {
        let nothing = (Duration::ZERO, Ok(Value::Null));
        let Command::ScheduleTask { state, function, payload, .. } = task else { return nothing };
        // A function is known by its whole ARN or the name at its end.
        let short = function.rsplit(':').next().unwrap_or(function);
        let names = [state.as_str(), function, short];
        let Some((name, answers)) = names.iter().find_map(|name| self.mock.tasks.get_key_value(*name)) else {
            self.unmocked = Some(format!(
                "the state '{state}' calls the function '{short}' with {payload}, and the mock has no answer: it needs \
                 \"Tasks\": {{\"{state}\": {{\"Return\": ...}}}}, or \"{short}\" in place of \"{state}\""
            ));
            return nothing;
        };
        let call = self.calls.entry(name.clone()).or_default();
        let answers = answers.all();
        let answer = &answers[(*call).min(answers.len() - 1)];
        *call += 1;
        let result = match &answer.throw {
            Some(Throw { error, cause }) => Err((error.clone(), cause.clone())),
            None => Ok(answer.result.clone().unwrap_or_default()),
        };
        (Duration::from_secs_f64(answer.delay_seconds), result)
    }

    fn read(&mut self, arguments: &Value) -> Result<Vec<u8>, String> {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default();
        let name = format!("{}/{}", text("Bucket"), text("Key"));
        match self.mock.objects.get(&name) {
            Some(Value::String(text)) => Ok(text.clone().into_bytes()),
            Some(value) => Ok(value.to_string().into_bytes()),
            None => Err(format!("The mock's Objects have no '{name}'.")),
        }
    }

    fn write(&mut self, bucket: &str, key: &str, body: Vec<u8>) {
        let text = String::from_utf8_lossy(&body).into_owned();
        self.mock.objects.insert(format!("{bucket}/{key}"), Value::String(text));
    }

    fn hear(&mut self, at: Timestamp, happening: Happening<'_>) -> bool {
        if self.unmocked.is_some() || self.written.is_err() {
            return false;
        }
        match happening {
            Happening::Traced(path, trace) => self.show_trace(at, path, trace),
            Happening::Wanted(path, command) => self.show_command(at, path, command),
            Happening::Told(path, told) => self.show_told(at, path, told),
            Happening::Ended(_) => {}
        }
        true
    }
}

impl Timeline<'_> {
    fn show_trace(&mut self, at: Timestamp, path: &ChildPath, trace: &Trace) {
        match trace {
            Trace::StateEntered { state, state_type, input } => {
                self.show(at, path, &format!("{state_type}StateEntered"), state, &json!({ "input": **input }));
            }
            Trace::StateExited { state, state_type, output, assigned } => {
                let mut details = json!({ "output": **output });
                for (name, value) in assigned {
                    details["assigned"][name] = Value::clone(value);
                }
                self.show(at, path, &format!("{state_type}StateExited"), state, &details);
            }
            Trace::MapRunStarted { state } => self.show(at, path, "MapRunStarted", state, &json!({})),
            Trace::MapRunSucceeded { state, items, failed } => {
                self.show(at, path, "MapRunSucceeded", state, &json!({ "items": items, "failed": failed }));
            }
            Trace::MapRunFailed { state, error, cause } => {
                self.show(at, path, "MapRunFailed", state, &json!({ "error": error, "cause": cause }));
            }
            Trace::EvaluationFailed { state, error, cause, location } => {
                let details = json!({ "error": error, "cause": cause, "location": location });
                self.show(at, path, "EvaluationFailed", state, &details);
            }
            Trace::EdgeTaken(_) => {}
        }
    }

    fn show_command(&mut self, at: Timestamp, path: &ChildPath, command: &Command) {
        match command {
            Command::ScheduleTask { id, state, function, payload, retry_count, .. } => {
                self.tasks.insert((path.clone(), *id), state.clone());
                let mut details = json!({ "function": function, "payload": payload });
                if *retry_count > 0 {
                    details["retry"] = json!(retry_count);
                }
                self.show(at, path, "TaskScheduled", state, &details);
            }
            Command::Succeed { output } => self.show(at, path, "ExecutionSucceeded", "", &json!({ "output": output })),
            Command::Fail { error, cause } => {
                self.show(at, path, "ExecutionFailed", "", &json!({ "error": error, "cause": cause }));
            }
            _ => {}
        }
    }

    fn show_told(&mut self, at: Timestamp, path: &ChildPath, told: &Told) {
        match told {
            Told::Event(Event::TaskSucceeded { id, result }) => {
                let state = self.tasks.remove(&(path.clone(), *id)).unwrap_or_default();
                self.show(at, path, "TaskSucceeded", &state, &json!({ "result": result }));
            }
            Told::Event(Event::TaskFailed { id, error, cause }) => {
                let state = self.tasks.remove(&(path.clone(), *id)).unwrap_or_default();
                let name = if error == "States.Timeout" { "TaskTimedOut" } else { "TaskFailed" };
                self.show(at, path, name, &state, &json!({ "error": error, "cause": cause }));
            }
            _ => {}
        }
    }

    fn show(&mut self, at: Timestamp, path: &ChildPath, event: &str, state: &str, details: &Value) {
        if !path.is_root() && !self.args.children {
            return;
        }
        self.events += 1;
        let seconds = at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64();
        if self.args.json || self.args.output.is_json() {
            let mut line = json!({ "id": self.events, "seconds": seconds, "type": event });
            if !path.is_root() {
                line["child"] = json!(path.to_string());
            }
            if !state.is_empty() {
                line["state"] = json!(state);
            }
            for (name, value) in details.as_object().into_iter().flatten() {
                line[name] = value.clone();
            }
            match self.args.json {
                true => self.write(line.to_string()),
                false => self.document.push(line),
            }
            return;
        }
        let place = if path.is_root() { state.to_owned() } else { format!("{path} {state}") };
        let details = details.as_object().into_iter().flatten().filter(|(_, value)| !is_empty(value));
        let details =
            details.map(|(name, value)| format!("{name} {}", shortened(value))).collect::<Vec<_>>().join("  ");
        let line = format!("{:>4} {seconds:>9.3} s  {event:<21} {place:<20} {details}", self.events);
        self.write(line.trim_end());
    }

    /// The first line that cannot be written ends the execution.
    fn write(&mut self, line: impl AsRef<str>) {
        if self.written.is_ok() {
            self.written = self.output.line(line);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == ""
}

/// What fits on a line with others.
fn shortened(value: &Value) -> String {
    const MAX_CHARS: usize = 100;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.chars().count() <= MAX_CHARS {
        return text;
    }
    text.chars().take(MAX_CHARS - 1).chain(['…']).collect()
}
