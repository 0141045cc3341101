//! `kill -9` at any moment, hundreds of times: nothing acknowledged is lost, nothing happens twice, nothing is left
//! behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use clock::{Clock as _, SystemClock};
use contracts::Status;
use contracts::effect::sha256_hex;
use contracts::responses::StatusResponse;
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use reference_services::{Fault, FaultRule, ServiceKind};
use serde_json::{Value, json};
use store::{BlobKey, Blobs as _, Executions as _};
use store_sql::{Durability, SqlStore};
use tokio::process::{Child, Command};

use crate::embedded::Subject;
use crate::holdings::{Maker, held};
use crate::interpreter::dice::Dice;
use crate::invariants::one_effect;
use crate::process::{Site, pause};
use crate::round_trips::{OnConflict, compare, restored};
use crate::subjects::{
    self, CROSS_SERVICE_BACKUP, CROSS_SERVICE_RESTORE, DATA_MIGRATION, ERASURE, ask, counts_are_true,
};
use crate::world::{self, TENANT};

/// How often, unless `CRASH_KILLS` says otherwise.
const KILLS: usize = 500;
/// Its workspaces are always refused, so that its executions are compensated.
const REFUSED_TENANT: &str = "tenant-456";

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_double_nothing() {
    let seed = 20_260_101;
    let kills = kills();
    println!("seed {seed}, {kills} kills");
    let mut dice = Dice(seed);
    let site = Site::new().await;
    let refused = Fault::Status { status: 400, retry_after_seconds: None };
    let refuse =
        FaultRule { tenant: Some(REFUSED_TENANT.to_owned()), ..FaultRule::on("POST", "/api/v1/workspaces", refused) };
    site.services.set_faults(ServiceKind::File, vec![refuse]);
    let before = site.services.snapshot(Some(REFUSED_TENANT)).await.unwrap();
    let members_before = members(&site).await;

    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    let mut unanswered: Vec<(String, String)> = Vec::new();
    for kill in 0..kills {
        let mut server = site.spawn(None);
        // Some are killed while they are still starting.
        if dice.below(10) == 0 {
            pause(Duration::from_millis(dice.below(30) as u64)).await;
        } else {
            site.until_up(&mut server).await;
            let mut starts = std::mem::take(&mut unanswered);
            for (tenant, name) in [(TENANT, "good"), (REFUSED_TENANT, "refused")] {
                starts.push((tenant.to_owned(), format!("{name}-{kill}@example.com")));
            }
            let requests = join_all(starts.iter().map(|(tenant, email)| site.start(tenant, email)));
            let kill_after = Duration::from_millis(dice.below(120) as u64);
            let answers = clock::timeout(&SystemClock, kill_after, requests).await;
            let answers = answers.unwrap_or_else(|| vec![None; starts.len()]);
            for ((tenant, email), answer) in starts.into_iter().zip(answers) {
                match answer {
                    Some(id) => {
                        let earlier = acknowledged.insert(email.clone(), id.clone());
                        assert!(earlier.is_none_or(|earlier| earlier == id), "{email} was started twice");
                    }
                    None => unanswered.push((tenant, email)),
                }
            }
            pause(Duration::from_millis(dice.below(60) as u64)).await;
        }
        server.kill().await.unwrap();
    }

    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    for (tenant, email) in &unanswered {
        let id = site.start(tenant, email).await.expect("the server is up");
        acknowledged.insert(email.clone(), id);
    }
    let good = site.until_all_ended(TENANT).await;
    let refused = site.until_all_ended(REFUSED_TENANT).await;

    let stored: BTreeSet<&String> = good.iter().chain(&refused).map(|(id, _)| id).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|(_, id)| !stored.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(stored.len(), acknowledged.len(), "one execution per key");
    let not = |rows: &[(String, String)], wanted: &str| {
        rows.iter().filter(|(_, status)| status != wanted).cloned().collect::<Vec<_>>()
    };
    assert_eq!(not(&good, "Completed"), []);
    assert_eq!(not(&refused, "Failed"), []);
    one_effect(&site.services.ledger().await.unwrap()).unwrap();
    assert_eq!(site.services.snapshot(Some(REFUSED_TENANT)).await.unwrap(), before, "something was left behind");
    assert_eq!(members(&site).await, members_before + good.len(), "a member for each completed onboarding");
    println!("{kills} kills, {} executions, 0 lost, 0 doubled", stored.len());
}

/// Entities of the job that is killed, and kills of it where there are `CRASH_KILLS`.
const ENTITIES: usize = 600;
const KILLS_OF_JOBS: usize = 60;

/// A job whose process is killed over and over: each entity is made once, and the counts are true.
#[tokio::test(flavor = "multi_thread")]
async fn kills_of_a_job_lose_nothing_and_double_nothing() {
    let seed = 20_260_105;
    let kills = kills() * KILLS_OF_JOBS / KILLS;
    println!("seed {seed}, {kills} kills");
    let mut dice = Dice(seed);
    let site = Site::new().await;
    // Slow enough that kills meet batches.
    let slow = FaultRule::on("POST", "/api/v1/operations/{operation}", Fault::Delay { delay_ms: 20 });
    site.services.set_faults(ServiceKind::Auth, vec![slow]);
    let account = |number: usize| {
        // Every tenth has no name, which is refused.
        let (email, name) = (format!("job-{number}@example.com"), if number.is_multiple_of(10) { "" } else { "N" });
        serde_json::json!({
            "service": "auth", "entity_type": "account", "entity_id": format!("job-{number}"),
            "operation_data": { "email": email, "name": name, "role": "user" },
        })
    };
    let job = serde_json::json!({
        "operation_id": "killed", "tenant_id": TENANT, "operation_type": "UserCreation",
        "target_entities": (0..ENTITIES).map(account).collect::<Vec<_>>(),
        "batch_options": { "batch_size": 5, "parallel_batches": 4 },
    });
    let start = async || site.post(TENANT, "/api/v1/workflows/bulk-operation", &job).await;
    let mut known = None;
    for _ in 0..kills {
        let mut server = site.spawn(None);
        site.until_up(&mut server).await;
        if known.is_none()
            && let Some((_, answer)) = start().await
        {
            known = answer["workflow_id"].as_str().map(str::to_owned);
        }
        pause(Duration::from_millis(dice.below(120) as u64)).await;
        server.kill().await.unwrap();
    }
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let (_, answer) = start().await.expect("the server is up");
    let id = answer["workflow_id"].as_str().unwrap().to_owned();
    assert!(known.is_none_or(|known| known == id), "it was started twice");
    let ended = site.until_all_ended(TENANT).await;
    assert_eq!(ended, [(id.clone(), "Completed".to_owned())]);
    let status = status_of(&site, &id).await;
    let ledger = site.services.ledger().await.unwrap();
    one_effect(&ledger).unwrap();
    counts_are_true(&status, &ledger).unwrap();
    let result = status.result.unwrap();
    assert_eq!(result["successful_operations"], ENTITIES - ENTITIES / 10, "{result}");
    println!("{kills} kills, {ENTITIES} entities, 0 lost, 0 doubled");
}

/// Rounds of a backup and a restore that are killed where there are `CRASH_KILLS`, and kills of each.
const ROUNDS: usize = 10;
const KILLS_OF_EACH: usize = 2;
/// Every third of the restores is refused this, and undone.
const UPLOAD: (&str, &str) = ("PUT", "/api/v1/data/file/{file_id}/content");

/// Backups and restores of a tenant at random whose process is killed over and over. What completes is whole, and what fails
/// changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn kills_of_backups_and_restores_lose_nothing_and_double_nothing() {
    let seed = 20_260_109;
    let rounds = kills().div_ceil(KILLS / ROUNDS);
    println!("seed {seed}, {rounds} rounds");
    let (mut dice, mut of_things) = (Dice(seed), Dice(seed + 1));
    let site = Site::new().await;
    vault::FileKeys::init(&site.data_dir().join("keys.json"), SystemClock.now()).unwrap();
    let seen = site.seen();
    let mut maker = Maker::new(&seen, &mut of_things);
    maker.populate(6).await;
    let (mut undone, mut met) = (0, 0);
    for round in 0..rounds {
        let saved = held(&seen).await;
        let mut request = serde_json::json!({ "backup_id": format!("killed-{round}"), "tenant_id": TENANT });
        let backup = killed(&site, &seen, &mut dice, &CROSS_SERVICE_BACKUP, &request, None, &mut met).await;
        assert_eq!(backup.status, Status::Completed, "{:?}", backup.error);
        compare("a backup changes nothing", &held(&seen).await, &saved).unwrap();

        maker.damage().await;
        let there = held(&seen).await;
        let refused = Fault::Status { status: 400, retry_after_seconds: None };
        let refused = Some(FaultRule::on(UPLOAD.0, UPLOAD.1, refused)).filter(|_| round % 3 == 2);
        let is_refused = refused.is_some();
        request["on_conflict"] = "overwrite".into();
        let restore = killed(&site, &seen, &mut dice, &CROSS_SERVICE_RESTORE, &request, refused, &mut met).await;
        let whole = restored(&saved, &there, OnConflict::Overwrite).unwrap();
        let is_whole = restore.status == Status::Completed;
        assert!(is_whole || is_refused, "{:?}", restore.error);
        undone += usize::from(!is_whole);
        compare("after a restore", &held(&seen).await, if is_whole { &whole } else { &there }).unwrap();
    }
    one_effect(&site.services.ledger().await.unwrap()).unwrap();
    let kills = 2 * rounds * KILLS_OF_EACH;
    println!("{kills} kills, {met} of them in the middle, {undone} restores undone, 0 lost, 0 doubled");
    assert!(met > kills / 3, "hardly any kill met an execution: {met}");
}

/// Things of a type come into the tenant.
async fn import(seen: &world::Site, kind: ServiceKind, entity_type: &str, id: &str, data: Value) {
    let path = format!("/api/v1/data/{entity_type}/import");
    let body = json!({ "on_conflict": "overwrite", "items": [{ "id": id, "key": format!("{entity_type}-{id}"), "data": data }] });
    let (status, answer) = ask(seen, kind, http::Method::POST, &path, "", body.to_string().into()).await;
    assert_eq!(status, http::StatusCode::OK, "{answer:?}");
}

/// Archivals, restores from archives and erasures whose process is killed over and over: what is archived comes back as it was,
/// and of whom is erased nothing is left, while everything else stays.
#[tokio::test(flavor = "multi_thread")]
async fn kills_of_migrations_and_erasures_lose_nothing_and_double_nothing() {
    let seed = 20_260_111;
    let rounds = kills().div_ceil(2 * KILLS / ROUNDS);
    println!("seed {seed}, {rounds} rounds");
    let (mut dice, mut of_things) = (Dice(seed), Dice(seed + 1));
    let site = Site::new().await;
    vault::FileKeys::init(&site.data_dir().join("keys.json"), SystemClock.now()).unwrap();
    let seen = site.seen();
    Maker::new(&seen, &mut of_things).populate(6).await;
    let mut met = 0;
    for round in 0..rounds {
        let person = format!("person-{round}");
        let account = json!({ "user_id": person, "email": format!("{person}@example.com"), "name": "P", "role": "user",
            "status": "active", "created_at": "2026-01-01T00:00:00Z" });
        import(&seen, ServiceKind::Auth, "account", &person, account).await;
        for day in 1..=5 {
            let (id, day) = (format!("{person}-{day}"), format!("2026-01-0{day}"));
            let usage = json!({ "usage_id": id, "user_id": person, "day": day, "actions": 1 });
            import(&seen, ServiceKind::User, "usage", &id, usage).await;
        }
        let before = held(&seen).await;
        let mut request = json!({
            "migration_id": format!("out-{round}"), "target_tenant_id": TENANT, "migration_type": "DataArchival",
            "data_selectors": [{ "service": "user", "entity_type": "usage" }], "migration_options": { "batch_size": 2 },
        });
        let archived = killed(&site, &seen, &mut dice, &DATA_MIGRATION, &request, None, &mut met).await;
        assert_eq!(archived.status, Status::Completed, "{:?}", archived.error);
        let mut expected = before.clone();
        expected.retain(|(_, name, _), _| *name != "usage");
        compare("after an archival", &held(&seen).await, &expected).unwrap();

        request["migration_id"] = json!(format!("back-{round}"));
        request["migration_type"] = json!("DataRestore");
        request["restore_from"] = json!(format!("archive_out-{round}"));
        let back = killed(&site, &seen, &mut dice, &DATA_MIGRATION, &request, None, &mut met).await;
        assert_eq!(back.status, Status::Completed, "{:?}", back.error);
        compare("after a restore", &held(&seen).await, &before).unwrap();

        let request = json!({
            "compliance_id": format!("erasure-{round}"), "tenant_id": TENANT, "compliance_type": "GdprDataDeletion",
            "subject_user_id": person,
        });
        let erased = killed(&site, &seen, &mut dice, &ERASURE, &request, None, &mut met).await;
        assert!(erased.result.is_some_and(|result| result["status"] == "Completed"), "{:?}", erased.error);
        let mut expected = before;
        expected.retain(|_, thing| !thing.to_string().contains(&format!("\"{person}\"")));
        compare("after an erasure", &held(&seen).await, &expected).unwrap();
    }
    one_effect(&site.services.ledger().await.unwrap()).unwrap();
    let kills = 3 * rounds * KILLS_OF_EACH;
    println!("{kills} kills, {met} of them in the middle, 0 lost, 0 doubled");
    assert!(met > kills / 3, "hardly any kill met an execution: {met}");
}

/// Starts an execution whose process is killed so often, and waits for its end; `met` counts the kills that it survived. Services are so slow that kills meet it.
async fn killed(
    site: &Site,
    seen: &world::Site,
    dice: &mut Dice,
    subject: &subjects::Subject,
    request: &Value,
    refused: Option<FaultRule>,
    met: &mut usize,
) -> StatusResponse {
    let mut rules = subject.slow(15);
    if let Some(refused) = refused {
        rules.entry("file".to_owned()).or_default().insert(0, refused);
    }
    seen.faults(&rules);
    let key = sha256_hex(format!("{} {request}", subject.name()).as_bytes());
    let start = async || {
        let call = site.http.post(site.url(subject.path)).header("x-tenant-id", TENANT).header("prefer", "wait=0");
        let answer = call.header("idempotency-key", &key).json(request).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        let id = answer["workflow_id"].as_str().map(str::to_owned);
        // It may be on its way down.
        assert!(id.is_some() || answer["status"] == 503, "{answer}");
        id
    };
    let mut known = BTreeSet::new();
    for _ in 0..KILLS_OF_EACH {
        let mut server = site.spawn(None);
        site.until_up(&mut server).await;
        *met += usize::from(site.list(TENANT).await.iter().any(|(_, status)| status == "Running"));
        known.extend(clock::timeout(&SystemClock, Duration::from_millis(300), start()).await.flatten());
        pause(Duration::from_millis(dice.below(250) as u64)).await;
        server.kill().await.unwrap();
    }
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    *met += usize::from(site.list(TENANT).await.iter().any(|(_, status)| status == "Running"));
    let id = start().await.expect("the server is up");
    known.insert(id.clone());
    assert_eq!(known.len(), 1, "it was started twice");
    site.until_all_ended(TENANT).await;
    let status = status_of(site, &id).await;
    server.kill().await.unwrap();
    seen.faults(&BTreeMap::new());
    status
}

async fn status_of(site: &Site, id: &str) -> StatusResponse {
    let url = site.url(&format!("/api/v1/workflows/{id}/status"));
    let status = site.http.get(url).header("x-tenant-id", TENANT).send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&status).unwrap()
}

/// Executions that are retried and whose retries are retried, over and over.
const CHAINS: usize = 6;

/// Executions that retry each other, the last one last.
struct Chain {
    links: Vec<String>,
    /// What was asked of the last one without an answer yet, and whether that only undoes.
    asked: Option<bool>,
}

impl Chain {
    fn last(&self) -> &str {
        self.links.last().expect("a chain begins with an execution")
    }
}

/// Retries an execution: the new one, or none if there is nothing to retry now. No answer if the server went away.
async fn retry(site: &Site, id: &str, undoes: bool) -> Option<Option<String>> {
    let body = serde_json::json!({ "undo": undoes });
    match site.post(REFUSED_TENANT, &format!("/api/v1/workflows/{id}/retry"), &body).await? {
        (202, answer) => Some(Some(answer["new_workflow_id"].as_str().unwrap().to_owned())),
        (409, _) => Some(None),
        (503, _) => None,
        other => panic!("retry answers {other:?}"),
    }
}

/// Executions fail and are undone, or are terminated in between. They are retried, which fails again, or are undone.
#[tokio::test(flavor = "multi_thread")]
async fn kills_while_executions_are_retried_lose_nothing_and_double_nothing() {
    let seed = 20_260_103;
    let kills = kills() / 5;
    println!("seed {seed}, {kills} kills");
    let mut dice = Dice(seed);
    let site = Site::new().await;
    let refused = Fault::Status { status: 400, retry_after_seconds: None };
    site.services.set_faults(ServiceKind::File, vec![FaultRule::on("POST", "/api/v1/workspaces", refused)]);
    let before = site.services.snapshot(Some(REFUSED_TENANT)).await.unwrap();
    let mut server = site.spawn(None);
    site.until_up(&mut server).await;
    let mut chains = Vec::new();
    for number in 0..CHAINS {
        let first = site.start(REFUSED_TENANT, &format!("chain-{number}@example.com")).await.unwrap();
        chains.push(Chain { links: vec![first], asked: None });
    }
    for _ in 0..kills {
        let kill_after = Duration::from_millis(dice.below(150) as u64);
        let calls = chains.iter_mut().map(|chain| {
            let undoes = *chain.asked.get_or_insert_with(|| dice.below(3) == 0);
            let is_terminated = dice.below(4) == 0;
            let (site, last) = (&site, chain.last().to_owned());
            clock::timeout(&SystemClock, kill_after, async move {
                if is_terminated {
                    let path = format!("/api/v1/workflows/{last}/terminate");
                    site.post(REFUSED_TENANT, &path, &serde_json::json!({})).await?;
                }
                retry(site, &last, undoes).await
            })
        });
        let answers = join_all(calls.collect::<Vec<_>>()).await;
        for (chain, answer) in chains.iter_mut().zip(answers) {
            if let Some(answer) = answer.flatten() {
                chain.asked = None;
                chain.links.extend(answer);
            }
        }
        pause(Duration::from_millis(dice.below(60) as u64)).await;
        server.kill().await.unwrap();
        server = site.spawn(None);
        site.until_up(&mut server).await;
    }

    // What was asked is asked until it is answered, then everything that stands is undone.
    for undoes in [None, Some(true)] {
        site.until_all_ended(REFUSED_TENANT).await;
        for chain in &mut chains {
            if let Some(undoes) = undoes.or(chain.asked.take()) {
                let link = retry(&site, chain.last(), undoes).await.expect("the server is up");
                chain.links.extend(link);
            }
        }
    }
    let stored = site.until_all_ended(REFUSED_TENANT).await;
    let links: BTreeSet<&String> = chains.iter().flat_map(|chain| &chain.links).collect();
    assert_eq!(
        stored.iter().map(|(id, _)| id).collect::<BTreeSet<_>>(),
        links,
        "one retry for each that was asked for"
    );
    assert_eq!(site.services.snapshot(Some(REFUSED_TENANT)).await.unwrap(), before, "something was left behind");

    site.services.set_faults(ServiceKind::File, Vec::new());
    for chain in &mut chains {
        let link = retry(&site, chain.last(), false).await.flatten().expect("it did not complete");
        chain.links.push(link);
    }
    let ended: BTreeMap<String, String> = site.until_all_ended(REFUSED_TENANT).await.into_iter().collect();
    for chain in &chains {
        assert_eq!(ended[chain.last()], "Completed", "{:?}", chain.links);
    }
    one_effect(&site.services.ledger().await.unwrap()).unwrap();
    let mut kinds = BTreeMap::<&String, usize>::new();
    ended.values().for_each(|status| *kinds.entry(status).or_default() += 1);
    let longest = chains.iter().map(|chain| chain.links.len()).max().unwrap();
    println!("{kills} kills, {CHAINS} chains of at most {longest}, {kinds:?}, 0 lost, 0 doubled");
    assert!(kinds.len() == 4 && ended.len() > kills / 2, "hardly anything was retried");
}

/// Batches of the Map below, under way at once, and how often its process is killed.
const BATCHES: usize = 10_000;
const AT_ONCE: usize = 100;
const MAP_KILLS: usize = 20;
const MAP: &str = "user_onboarding_map";
/// Tells the process with the Map where its data is.
const DIRECTORY: &str = "CRASH_MAP_DIRECTORY";

/// It starts and kills processes of itself.
#[tokio::test(flavor = "multi_thread")]
async fn kills_in_the_middle_of_a_map_lose_no_batch_and_repeat_few() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return run_map(Path::new(&directory)).await;
    }
    let seed = 20_260_102;
    println!("seed {seed}, {MAP_KILLS} kills");
    let mut dice = Dice(seed);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let calls = || std::fs::read(&log).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
    let mut killed_at = Vec::new();
    'kills: for _ in 0..MAP_KILLS {
        let mut process = map_process(directory.path());
        // Some are killed before they have called anybody.
        let until = calls() + dice.below(2 * BATCHES / MAP_KILLS * 9 / 10);
        while calls() < until {
            // Late on a busy machine.
            if let Some(status) = process.try_wait().unwrap() {
                assert!(status.success(), "it ended with {status}");
                break 'kills;
            }
            pause(Duration::from_millis(1)).await;
        }
        process.kill().await.unwrap();
        killed_at.push(calls());
    }
    assert!(map_process(directory.path()).wait().await.unwrap().success());
    let calls: Vec<usize> = std::fs::read_to_string(&log).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    println!("killed after {killed_at:?} calls, {} in all", calls.len());
    assert!(killed_at.iter().filter(|calls| (1..BATCHES).contains(calls)).count() > MAP_KILLS / 2, "{killed_at:?}");
    assert_eq!(calls.iter().collect::<BTreeSet<_>>().len(), BATCHES, "each batch was called");
    assert!(calls.len() <= BATCHES + AT_ONCE * MAP_KILLS, "{} calls", calls.len());
    let store = SqlStore::open(&directory.path().join("db"), Durability::Process, Arc::new(SystemClock)).await.unwrap();
    let record = store.get(TENANT, MAP).await.unwrap().unwrap();
    let expected = serde_json::json!({ "count": BATCHES, "sum": BATCHES * (BATCHES - 1) / 2 });
    assert_eq!(record.result, Some(expected), "{:?}", record.failure);
}

fn map_process(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::kills_in_the_middle_of_a_map_lose_no_batch_and_repeat_few"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// What the processes do that are killed.
async fn run_map(directory: &Path) {
    let subject = Subject::open(directory, Arc::new(SystemClock), None, AT_ONCE).await;
    if subject.store.get(TENANT, MAP).await.unwrap().is_some() {
        subject.engine.recover().await.unwrap();
    } else {
        let items = serde_json::json!((0..BATCHES).collect::<Vec<_>>()).to_string();
        let key = BlobKey::new(TENANT, &["batches.json"]).unwrap();
        subject.blobs.put(&key, stream::iter([Ok(items.into())]).boxed()).await.unwrap();
        subject.start_as(MAP, &map()).await;
    }
    subject.until_ended(MAP).await;
}

/// A Map whose batches say who they are.
fn map() -> Value {
    let batch = serde_json::json!({
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
        "Arguments": { "FunctionName": "log", "Payload": { "item": "{% $states.input %}" } },
        "Output": "{% $states.result.Payload %}",
    });
    let each = serde_json::json!({
        "Type": "Map", "MaxConcurrency": AT_ONCE, "End": true,
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": { "InputType": "JSON" },
            "Arguments": { "Bucket": "any", "Key": format!("{TENANT}/batches.json") },
        },
        "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
            "StartAt": "Batch", "States": { "Batch": batch },
        },
        "Output": { "count": "{% $count($states.result) %}", "sum": "{% $sum($states.result) %}" },
    });
    serde_json::json!({ "QueryLanguage": "JSONata", "StartAt": "Each", "States": { "Each": each } })
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn kills() -> usize {
    std::env::var("CRASH_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS)
}

async fn members(site: &Site) -> usize {
    let snapshot = site.services.snapshot(Some(TENANT)).await.unwrap();
    snapshot["tenant"]["memberships"].as_array().unwrap().len()
}
