//! The cases in `cases/`: what goes in, what goes wrong, what comes out. `UPDATE_CASES=1` rewrites what comes out.
//!
//! Together they take every edge of the state machine: every state, Choice rule, retrier and catcher.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use contracts::WorkflowKind;
use reference_services::FaultRule;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{Journal, RecordSelection};

use crate::invariants;
use crate::world::{Script, Site, TENANT, World, full_request, run};

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// What it shows.
    #[expect(dead_code, reason = "for people")]
    about: String,
    /// Fields of the request that differ from one that asks for everything.
    #[serde(default)]
    pub(crate) request: Map<String, Value>,
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

fn directory(workflow: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(workflow)
}

/// The case in a file.
pub(crate) fn read(file: &Path) -> Case {
    let text = std::fs::read_to_string(file).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

pub(crate) fn files(workflow: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(directory(workflow)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs a case: what came out, and the edges that were taken.
fn play(case: &Case) -> (Value, Vec<asl::Edge>) {
    run(async {
        let settings: Vec<_> = case.settings.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let world = World::with(case.script.clone(), &settings).await;
        let (id, request, outcome) = play_on(&world, case).await.unwrap_or_else(|violation| panic!("{violation}"));
        nothing_personal(&world, &id, &request).await;
        (outcome, world.edges(&id).await)
    })
}

/// Runs a case on any site: the execution, its request, what came out.
pub(crate) async fn play_on(site: &Site, case: &Case) -> Result<(String, Value, Value), String> {
    let before = site.snapshot().await;
    site.faults(&case.faults);
    let mut request = full_request();
    for (name, value) in &case.request {
        request[name] = value.clone();
    }
    let id = site.start(&request).await;
    site.until_ended(&id).await;
    site.faults(&BTreeMap::new());
    let status = invariants::check(site, &id, &before).await?;
    let history: Vec<String> = site.history(&id).await.events.iter().map(|event| line(&event.event)).collect();
    let ledger: Vec<String> = site
        .ledger()
        .await
        .iter()
        .map(|entry| format!("{} {} {} {:?}", entry.service, entry.method, entry.route, entry.outcome))
        .collect();
    let outcome = json!({
        "status": status.status,
        "error": status.error,
        "result": status.result.map(nameless),
        "failure": status.failure,
        "history": history,
        "ledger": ledger,
    });
    Ok((id, request, outcome))
}

/// The request is stored as the request, and nowhere else: not in the engine's journal, not in the history, not in the
/// record's progress, result or failure.
async fn nothing_personal(world: &World, id: &str, request: &Value) {
    let stored = world.app.store.load(TENANT, id).await.unwrap().unwrap();
    let records = world.app.store.records(TENANT, id, RecordSelection::After(0)).await.unwrap();
    assert_eq!(records.len() as u64, stored.journal_kept, "all of them are looked at");
    let mut seen = format!("{records:?} {} {:?}", stored.input, stored.progress);
    seen.push_str(&serde_json::to_string(&world.status(id).await).unwrap());
    for event in world.history(id).await.events.into_iter().skip(1) {
        seen.push_str(&event.event.details.to_string());
    }
    for field in ["user_email", "user_name"] {
        let value = request[field].as_str().unwrap();
        assert!(!seen.contains(value), "{field} is outside of the request");
    }
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
fn nameless(mut result: Value) -> Value {
    for name in ["user_id", "workspace_id", "onboarding_completed_at"] {
        if result[name].is_string() {
            result[name] = json!(format!("<{name}>"));
        }
    }
    result
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn every_case_comes_out_as_expected_and_together_they_take_every_edge() {
    let update = std::env::var("UPDATE_CASES").is_ok();
    let mut taken = BTreeSet::new();
    let mut wrong = Vec::new();
    let files = files("user-onboarding");
    for file in &files {
        let case = read(file);
        let (outcome, edges) = play(&case);
        taken.extend(edges);
        if case.expected == outcome {
            continue;
        }
        if update {
            let mut whole: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
            whole["expected"] = outcome;
            std::fs::write(file, format!("{whole:#}\n")).unwrap();
        } else {
            wrong.push(format!("{}\n  expected {}\n  actual   {outcome}", file.display(), case.expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let workflow = workflows::workflow(WorkflowKind::UserOnboarding).unwrap();
    let definition = asl::Definition::load(&workflow.definition(&Default::default())).unwrap();
    let edges = definition.edges();
    let missed: Vec<String> = edges.iter().filter(|edge| !taken.contains(edge)).map(ToString::to_string).collect();
    println!("{} cases take {} of {} edges", files.len(), edges.len() - missed.len(), edges.len());
    assert!(missed.is_empty(), "edges that no case takes:\n{}", missed.join("\n"));
}
