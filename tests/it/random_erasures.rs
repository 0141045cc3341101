//! Erasures and exports of whomever a tenant has, with whatever comes in between: others keep everything, an erasure that says
//! that it is complete leaves nothing of the person, and one that is repeated ends well. In virtual time; a seed repeats a world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use contracts::Status;
use contracts::responses::StatusResponse;
use serde_json::{Value, json};

use crate::holdings::{CONTENT, Held, Maker, held};
use crate::interpreter::dice::Dice;
use crate::round_trips::{compare, each_seed, interfered, rounds};
use crate::subjects::{COMPLIANCE, CallSite, ERASURE, Subject, site};
use crate::world::{TENANT, World};

/// Executions of each world.
const EXECUTIONS: usize = 8;

/// The calls of a service by which a person's data are read and erased.
const fn of_service(service: &'static str) -> [CallSite; 5] {
    [
        site("catalogue", service, "GET", "/api/v1/data"),
        site("pages", service, "GET", "/api/v1/data/{type}"),
        site("logs", service, "GET", "/api/v1/logs"),
        site("delete", service, "POST", "/api/v1/data/{type}/delete"),
        site("forget", service, "POST", "/api/v1/data/forget"),
    ]
}

fn sites() -> Vec<CallSite> {
    let content = site("content", "file", "GET", "/api/v1/data/file/{file_id}/content");
    ["auth", "user", "tenant", "file", "notifications"].into_iter().flat_map(of_service).chain([content]).collect()
}

/// What there is of a person, and of others; the bytes of a file are of whom the file is.
fn parted(held: &Held, person: &str) -> (Held, Held) {
    let quoted = json!(person).to_string();
    let names = |thing: &Value| thing["data"].to_string().contains(&quoted);
    held.clone().into_iter().partition(|((service, entity_type, id), thing)| match *entity_type {
        CONTENT => held.get(&(*service, "file", id.clone())).is_some_and(names),
        _ => names(thing),
    })
}

/// Persons of whom there is something, and one of whom there is nothing.
fn persons(held: &Held) -> Vec<String> {
    let named = held.values().filter_map(|thing| thing["data"]["user_id"].as_str().map(str::to_owned));
    named.chain(["nobody".to_owned()]).collect::<BTreeSet<_>>().into_iter().collect()
}

/// An export of a person, or their erasure.
struct Trial<'a> {
    world: &'a World,
    subject: &'static Subject,
    person: String,
    request: Value,
    /// What there was of the person before it, and of others.
    own: Held,
    others: Held,
}

impl<'a> Trial<'a> {
    async fn at_random(world: &'a World, dice: &mut Dice, number: usize) -> Self {
        let before = held(world).await;
        let person = dice.one_of(&persons(&before)).clone();
        let (own, others) = parted(&before, &person);
        let (subject, kind) = match dice.below(4) {
            0 => (&COMPLIANCE, "GdprDataExport"),
            _ => (&ERASURE, "GdprDataDeletion"),
        };
        let request = json!({
            "compliance_id": format!("request-{number}"), "tenant_id": TENANT, "compliance_type": kind,
            "subject_user_id": person,
        });
        Self { world, subject, person, request, own, others }
    }

    /// Whether it did what it says, and nothing else.
    async fn is_true(&self, status: &StatusResponse) -> Result<(), String> {
        let (own, others) = parted(&held(self.world).await, &self.person);
        compare("what others have", &others, &self.others)?;
        let result = status.result.as_ref().filter(|_| status.status == Status::Completed);
        let is_export = std::ptr::eq(self.subject, &COMPLIANCE);
        if is_export {
            compare("what is exported", &own, &self.own)?;
            let things = self.own.keys().filter(|(_, entity_type, _)| *entity_type != CONTENT).count();
            return match result.map(|result| &result["data_exported"]["total_records"]) {
                Some(told) if *told != things => Err(format!("there are {things} things of theirs: {result:?}")),
                _ => Ok(()),
            };
        }
        let more = own.iter().find(|(place, thing)| self.own.get(*place) != Some(*thing));
        match (more, result) {
            (Some(more), _) => Err(format!("it changed {more:?}")),
            (None, Some(result)) if result["status"] == "Completed" && !own.is_empty() => {
                Err(format!("it is complete, and there is {:?}", own.keys()))
            }
            (None, None) if status.status == Status::Cancelled => compare("after a cancel", &own, &self.own),
            (None, _) => Ok(()),
        }
    }

    /// Erases the person with nothing in between: what is left then is what others' things belong to.
    async fn is_repeated(&self, is_partial: bool) -> Result<(), String> {
        let mut request = self.request.clone();
        request["compliance_id"] = json!(format!("{}-again", request["compliance_id"].as_str().unwrap_or_default()));
        let status = self.world.until_ended(&self.world.start_of(&ERASURE, &request).await).await;
        self.is_true(&status).await?;
        let result = match (status.failure, status.result) {
            // Nobody has anything of the person, and nothing was left to be forgotten.
            (Some(failure), _) if failure.error == "NotFound" && !is_partial => return Ok(()),
            (None, Some(result)) => result,
            (failure, _) => return Err(format!("repeated: {failure:?}")),
        };
        let reasons = result["residue"].as_array().into_iter().flatten().map(|of| of["reason"].as_str().unwrap_or("?"));
        // What hangs on it stays as well, and all of it is told once more.
        let expected = ["OthersBelongToIt", "Blocked", "StillThere", "NotForgotten"];
        match reasons.clone().all(|reason| expected.contains(&reason)) {
            true => Ok(()),
            false => Err(format!("repeated: {result}")),
        }
    }
}

/// Exports and erasures one after the other.
async fn history(seed: u64, ended: &Mutex<BTreeMap<String, usize>>) -> Result<usize, String> {
    let (mut dice, mut of_things) = (Dice(seed), Dice(seed + 1));
    let world = World::new().await;
    let mut maker = Maker::new(&world, &mut of_things);
    maker.populate(*dice.one_of(&[2, 8, 20])).await;
    for number in 0..EXECUTIONS {
        for _ in 0..dice.below(12) {
            maker.touch().await;
        }
        // The ledgers of the services tell by the time what is the execution's.
        clock::sleep(&*world.clock, Duration::from_secs(1)).await;
        let trial = Trial::at_random(&world, &mut dice, number).await;
        let status = interfered(&world, &mut dice, trial.subject, &sites(), &trial.request).await?;
        let told = status.result.as_ref().and_then(|result| result["status"].as_str()).unwrap_or_default();
        let name = format!("{} {} {told}", trial.request["compliance_type"], status.status);
        *ended.lock().unwrap().entry(name.clone()).or_default() += 1;
        let of_trial = |why: String| format!("{name}, {}: {why}", trial.request);
        trial.is_true(&status).await.map_err(of_trial)?;
        if std::ptr::eq(trial.subject, &ERASURE) && dice.below(2) == 0 {
            trial.is_repeated(told == "PartiallyCompleted").await.map_err(of_trial)?;
        }
    }
    Ok(EXECUTIONS)
}

#[test]
fn whatever_comes_in_between_an_erasure_tells_the_truth_and_others_keep_everything() {
    let ended = Mutex::default();
    let executions = each_seed(rounds(), async |seed| history(seed, &ended).await);
    let ended = ended.into_inner().unwrap();
    println!("{executions} executions: {ended:?}");
    let count = |words: [&str; 2]| {
        let counted = ended.iter().filter(|(name, _)| words.iter().all(|word| name.contains(word)));
        counted.map(|(_, count)| *count).sum::<usize>()
    };
    for words in [
        ["Export", "Completed"],
        ["Export", "Failed"],
        ["Deletion", "Completed Completed"],
        ["Deletion", "PartiallyCompleted"],
        ["Deletion", "Failed"],
        ["Deletion", "Cancelled"],
    ] {
        assert!(count(words) > executions / 200, "hardly any ended so: {words:?}");
    }
}
