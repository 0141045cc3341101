//! The stories in `cases/<workflow>/`: what goes in, what goes wrong, what comes out. `UPDATE_CASES=1` rewrites what comes
//! out.
//!
//! Together with the generated cases they take every edge of each state machine: every state, Choice rule, retrier and
//! catcher.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use contracts::Status;
use http::StatusCode;
use reference_services::FaultRule;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{Journal, RecordSelection};

use crate::generated::{self, Expected};
use crate::invariants;
use crate::subjects::{self, Subject};
use crate::world::{Script, Site, TENANT, World, in_parallel, run};

/// One case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What it shows, for people.
    pub(crate) about: String,
    /// Fields of the request that differ from one that asks for everything.
    #[serde(default)]
    pub(crate) request: Map<String, Value>,
    /// Requests whose executions end before, each by the fields that differ.
    #[serde(default)]
    pub(crate) earlier: Vec<Map<String, Value>>,
    /// Whether the last one of those is taken back, instead of a start.
    #[serde(default)]
    pub(crate) reverses: bool,
    /// Settings by their environment names, without the prefix.
    #[serde(default)]
    pub(crate) settings: BTreeMap<String, String>,
    /// Faults by service.
    #[serde(default)]
    pub(crate) faults: BTreeMap<String, Vec<FaultRule>>,
    #[serde(flatten)]
    pub(crate) script: Script,
    /// What came out.
    #[serde(default)]
    pub(crate) expected: Value,
}

/// The case in a file.
pub(crate) fn read(file: &Path) -> Case {
    let text = std::fs::read_to_string(file).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The files of a workflow's stories.
pub(crate) fn files(subject: &Subject) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(subject.name());
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What a story's file is called.
pub(crate) fn name(file: &Path) -> String {
    file.file_stem().unwrap().to_string_lossy().into_owned()
}

/// Runs a case: what came out, and the edges that were taken.
fn play(subject: &Subject, case: &Case) -> Result<(Value, BTreeSet<asl::Edge>), String> {
    run(async {
        let settings: Vec<_> = case.settings.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let world = World::with(case.script.clone(), &settings).await;
        let edges = world.watched_edges();
        let (id, request, outcome) = play_on(&world, subject, case).await?;
        nothing_personal(&world, subject, &id, &request).await;
        let edges = edges.lock().unwrap().clone();
        Ok((outcome, edges))
    })
}

/// Runs a case on any site: the execution, its request, what came out.
pub(crate) async fn play_on(site: &Site, subject: &Subject, case: &Case) -> Result<(String, Value, Value), String> {
    let mut request = site.prepare(subject, 0).await;
    let mut last = String::new();
    for fields in &case.earlier {
        let mut earlier = request.clone();
        fields.iter().for_each(|(name, value)| earlier[name] = value.clone());
        last = site.start_of(subject, &earlier).await;
        let ended = site.until_ended(&last).await;
        assert_eq!(ended.status, Status::Completed, "{fields:?}: {:?}", ended.error);
    }
    site.calls.lock().unwrap().clear();
    let (before, prepared) = (site.snapshot().await, site.ledger().await);
    site.faults(&case.faults);
    for (name, value) in &case.request {
        request[name] = value.clone();
    }
    let id = match case.reverses {
        true => {
            let (status, answer) = site.post(&format!("/api/v1/workflows/{last}/reverse"), &Value::Null, &[]).await;
            assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
            answer["new_workflow_id"].as_str().unwrap().to_owned()
        }
        false => site.start_of(subject, &request).await,
    };
    site.until_ended(&id).await;
    site.faults(&BTreeMap::new());
    let status = invariants::check(site, &id, &before).await?;
    let history = site.history(&id).await.events.into_iter().map(|event| line(&event.event));
    // Where a control stands beside the begin of an attempt is each engine's own.
    let (controls, history): (Vec<String>, Vec<String>) = history.partition(|line| is_control(line));
    let ledger: Vec<String> = site
        .ledger()
        .await
        .iter()
        .filter(|entry| !prepared.contains(entry))
        .map(|entry| format!("{} {} {} {:?}", entry.service, entry.method, entry.route, entry.outcome))
        .collect();
    let mut outcome = json!({
        "status": status.status,
        "error": status.error,
        "result": status.result.map(|result| masked(subject, &id, result)),
        "failure": status.failure,
        "progress": status.progress.map(|progress| format!("{} of {}", progress.completed_steps, progress.total_steps)),
        "history": history,
        "ledger": ledger,
    });
    if !controls.is_empty() {
        outcome["controls"] = json!(controls);
    }
    Ok((id, request, outcome))
}

/// The request is stored as the request, and nowhere else: not in the engine's journal, not in the history, not in the
/// record's progress, result or failure.
async fn nothing_personal(world: &World, subject: &Subject, id: &str, request: &Value) {
    let stored = world.app.store.load(TENANT, id).await.unwrap().unwrap();
    let records = world.app.store.records(TENANT, id, RecordSelection::After(0)).await.unwrap();
    assert_eq!(records.len() as u64, stored.journal_kept, "all of them are looked at");
    let mut seen = format!("{records:?} {} {:?}", stored.input, stored.progress);
    seen.push_str(&serde_json::to_string(&world.status(id).await).unwrap());
    for event in world.history(id).await.events.into_iter().skip(1) {
        seen.push_str(&event.event.details.to_string());
    }
    for field in subject.personal {
        let value = request[*field].as_str().unwrap();
        assert!(!seen.contains(value), "{field} is outside of the request");
    }
}

fn is_control(line: &str) -> bool {
    ["WorkflowExecutionPaused", "WorkflowExecutionResumed"].contains(&line)
}

/// An event in a line: what happened to which step, and why.
fn line(event: &contracts::Event) -> String {
    let details = &event.details;
    let mut line = event.event_type.clone();
    if let Some(step) = details["activity_id"].as_str() {
        line.push_str(&format!(" {step} {}", details["attempt"]));
    }
    if let Some(error) = details["error"].as_str() {
        line.push_str(&format!(": {error}"));
    }
    for flag in ["skipped", "undone"] {
        if let Some(value) = details["result"].get(flag) {
            line.push_str(&format!(" {flag}={value}"));
        }
    }
    line
}

/// Ids and times differ from run to run.
fn masked(subject: &Subject, id: &str, result: Value) -> Value {
    let mut result: Value = serde_json::from_str(&result.to_string().replace(id, "<workflow_id>")).unwrap();
    for name in subject.masked {
        if !result[*name].is_null() {
            result[*name] = json!(format!("<{name}>"));
        }
    }
    result
}

/// What is compared with what a case came out with.
enum Expectation {
    /// What a file says.
    Story(PathBuf),
    Generated(Expected),
}

/// All cases of a workflow.
fn all_cases(subject: &Subject) -> Vec<(String, Case, Expectation)> {
    let stories = files(subject).into_iter().map(|file| (name(&file), read(&file), Expectation::Story(file)));
    let generated = generated::cases(subject).into_iter();
    stories.chain(generated.map(|of| (of.name, of.case, Expectation::Generated(of.expected)))).collect()
}

/// Writes what came out into a story's file.
fn update(file: &Path, outcome: Value) {
    let mut whole: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    whole["expected"] = outcome;
    std::fs::write(file, format!("{whole:#}\n")).unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn every_case_comes_out_as_expected_and_together_they_take_every_edge() {
    let is_update = std::env::var("UPDATE_CASES").is_ok();
    let wrong = Mutex::new(Vec::new());
    let mut all_taken = BTreeMap::<&str, BTreeSet<asl::Edge>>::new();
    for subject in subjects::EVERY {
        let (cases, taken) = (all_cases(subject), Mutex::new(BTreeSet::new()));
        in_parallel(cases.len(), |number| {
            let (name, case, expectation) = &cases[number];
            let played = play(subject, case).and_then(|(outcome, edges)| {
                taken.lock().unwrap().extend(edges);
                match expectation {
                    Expectation::Generated(expected) => expected.check(&outcome),
                    Expectation::Story(_) if outcome == case.expected => Ok(()),
                    Expectation::Story(file) if is_update => {
                        update(file, outcome);
                        Ok(())
                    }
                    Expectation::Story(_) => Err(format!("\n  expected {}\n  actual   {outcome}", case.expected)),
                }
            });
            if let Err(why) = played {
                wrong.lock().unwrap().push(format!("{}, {name} ({}): {why}", subject.name(), case.about));
            }
        });
        let stories = cases.iter().filter(|(_, _, of)| matches!(of, Expectation::Story(_))).count();
        let (generated, taken) = (cases.len() - stories, taken.into_inner().unwrap());
        println!("{}: {stories} stories and {generated} generated cases take {} edges", subject.name(), taken.len());
        // Variants share a machine.
        all_taken.entry(subject.kind.as_str()).or_default().extend(taken);
    }
    for (kind, taken) in all_taken {
        let subjects: Vec<&Subject> =
            subjects::EVERY.into_iter().filter(|subject| subject.kind.as_str() == kind).collect();
        let edges = asl::Definition::load(&subjects[0].machine().to_string()).unwrap().edges();
        let is_elsewhere = |edge: &String| subjects.iter().any(|of| of.taken_elsewhere.contains(&edge.as_str()));
        let missed = edges.iter().filter(|edge| !taken.contains(edge)).map(ToString::to_string);
        let missed = missed.filter(|edge| !is_elsewhere(edge)).map(|edge| format!("{kind}: no case takes {edge}"));
        wrong.lock().unwrap().extend(missed);
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
