//! Migrations of each type, of whatever a tenant has, with whatever comes in between: one that completes has done all of it,
//! and any other has changed nothing. In virtual time; a seed repeats a world.

use std::collections::BTreeMap;
use std::sync::Mutex;

use contracts::Status;
use contracts::data_migration::MigrationType;
use contracts::responses::StatusResponse;
use http::StatusCode;
use serde_json::{Value, json};

use crate::holdings::{CONTENT, Held, Maker, held};
use crate::interpreter::dice::Dice;
use crate::migration::TYPES;
use crate::round_trips::{OnConflict, compare, each_seed, interfered, restored, rounds};
use crate::subjects::{CROSS_SERVICE_BACKUP, CallSite, DATA_MIGRATION, nothing_is_left, site};
use crate::world::{TENANT, World};

/// Migrations of each world.
const MIGRATIONS: usize = 8;
/// A tenant of whose things copies are made.
const OTHER: &str = "tenant-456";

/// The calls of a service by which data are migrated.
const fn of_service(service: &'static str) -> [CallSite; 4] {
    [
        site("catalogue", service, "GET", "/api/v1/data"),
        site("pages", service, "GET", "/api/v1/data/{type}"),
        site("import", service, "POST", "/api/v1/data/{type}/import"),
        site("delete", service, "POST", "/api/v1/data/{type}/delete"),
    ]
}

fn sites() -> Vec<CallSite> {
    let content = ["GET", "PUT"].map(|method| site("content", "file", method, "/api/v1/data/file/{file_id}/content"));
    let of_services = ["auth", "user", "tenant", "file"].into_iter().flat_map(of_service);
    of_services.chain(content).collect()
}

/// A migration, and what there was before it.
struct Trial<'a> {
    world: &'a World,
    kind: MigrationType,
    request: Value,
    /// What it is about: service and type.
    types: Vec<(&'static str, &'static str)>,
    before: Held,
}

/// Types that a migration of this kind may be about.
fn types_of(kind: MigrationType, dice: &mut Dice) -> Vec<(&'static str, &'static str)> {
    match kind {
        MigrationType::SystemUpgrade | MigrationType::CrossServiceSync => vec![("user", "profile")],
        MigrationType::TenantToTenant => TYPES.to_vec(),
        MigrationType::DataArchival | MigrationType::DataRestore => {
            let some: Vec<_> = TYPES.into_iter().filter(|_| dice.below(2) == 0).collect();
            if some.is_empty() { TYPES.to_vec() } else { some }
        }
    }
}

impl<'a> Trial<'a> {
    async fn at_random(world: &'a World, dice: &mut Dice, number: usize) -> Self {
        let kind = *dice.one_of(&MigrationType::ALL);
        let types = types_of(kind, dice);
        let selectors: Vec<Value> =
            types.iter().map(|(service, name)| json!({ "service": service, "entity_type": name })).collect();
        let mut request = json!({
            "migration_id": format!("migration-{number}"), "target_tenant_id": TENANT,
            "migration_type": format!("{kind:?}"), "data_selectors": selectors,
            "migration_options": {
                "batch_size": *dice.one_of(&[1, 2, 7, 100]), "parallel_workers": 1 + dice.below(4),
                "create_backup": dice.below(4) == 0, "validate_data": dice.below(2) == 0,
            },
        });
        match kind {
            MigrationType::TenantToTenant => request["source_tenant_id"] = json!(OTHER),
            MigrationType::DataRestore => request["restore_from"] = json!("saved"),
            _ => {}
        }
        Self { world, kind, request, types, before: held(world).await }
    }

    fn is_selected(&self, place: &(&'static str, &'static str, String)) -> bool {
        let entity_type = if place.1 == CONTENT { "file" } else { place.1 };
        self.types.contains(&(place.0, entity_type))
    }

    /// Everything but the things of some types.
    fn without(&self, held: &Held, is_left_out: impl Fn(&(&'static str, &'static str, String)) -> bool) -> Held {
        held.iter()
            .filter(|(place, _)| !is_left_out(place))
            .map(|(place, thing)| (place.clone(), thing.clone()))
            .collect()
    }

    /// Whether it has done what it says.
    async fn is_done(&self, saved: &Held) -> Result<(), String> {
        let now = held(self.world).await;
        match self.kind {
            MigrationType::DataArchival => {
                let expected = self.without(&self.before, |place| self.is_selected(place));
                compare("after the archival", &now, &expected)
            }
            MigrationType::DataRestore => {
                let selected = self.without(saved, |place| !self.is_selected(place));
                let expected = restored(&selected, &self.before, OnConflict::Overwrite);
                compare("after the restore", &now, &expected.unwrap())
            }
            MigrationType::SystemUpgrade => {
                let others = |held: &Held| self.without(held, |place| self.is_selected(place));
                compare("what is not upgraded", &others(&now), &others(&self.before))?;
                nothing_is_left(self.world, &self.request).await
            }
            MigrationType::CrossServiceSync => {
                let others = |held: &Held| self.without(held, |place| place.1 == "profile_copy");
                compare("what is not a copy", &others(&now), &others(&self.before))?;
                nothing_is_left(self.world, &self.request).await
            }
            MigrationType::TenantToTenant => {
                let there = self.without(&now, |place| !self.before.contains_key(place));
                compare("what was there before", &there, &self.before)?;
                nothing_is_left(self.world, &self.request).await
            }
        }
    }

    /// Takes it back: everything is as it was.
    async fn is_reversible(&self, status: &StatusResponse) -> Result<(), String> {
        let path = format!("/api/v1/workflows/{}/reverse", status.workflow_id);
        let (answered, answer) = self.world.post(&path, &Value::Null, &[]).await;
        if answered == StatusCode::CONFLICT
            && status.result.as_ref().is_none_or(|result| result["reversible_until"].is_null())
        {
            return Ok(());
        }
        let id = answer["new_workflow_id"].as_str().ok_or_else(|| format!("it is not reversed: {answer}"))?;
        let told = self.world.until_ended(id).await;
        let result = told.result.filter(|_| told.status == Status::Completed);
        let result = result.ok_or_else(|| format!("the reversal: {:?}", told.error))?;
        compare(&format!("after the reversal {result}"), &held(self.world).await, &self.before)
    }
}

/// Migrations one after the other.
async fn history(seed: u64, ended: &Mutex<BTreeMap<String, usize>>) -> Result<usize, String> {
    let (mut dice, mut of_things) = (Dice(seed), Dice(seed + 1));
    let world = World::new().await;
    let others = world.services.snapshot(Some(OTHER)).await.unwrap();
    let mut maker = Maker::new(&world, &mut of_things);
    maker.populate(*dice.one_of(&[2, 8, 20])).await;
    let backup = json!({ "backup_id": "saved", "tenant_id": TENANT });
    let id = world.start_of(&CROSS_SERVICE_BACKUP, &backup).await;
    world.until_ended(&id).await;
    let saved = held(&world).await;
    for number in 0..MIGRATIONS {
        for _ in 0..dice.below(12) {
            maker.touch().await;
        }
        let trial = Trial::at_random(&world, &mut dice, number).await;
        let status = interfered(&world, &mut dice, &DATA_MIGRATION, &sites(), &trial.request).await?;
        let name = format!("{:?} {}", trial.kind, status.status);
        *ended.lock().unwrap().entry(name.clone()).or_default() += 1;
        let of_trial = |why: String| format!("{name}, {}: {why}", trial.request);
        match &status.failure {
            None => {
                trial.is_done(&saved).await.map_err(of_trial)?;
                if dice.below(2) == 0 {
                    trial.is_reversible(&status).await.map_err(of_trial)?;
                }
            }
            // It says that something is left.
            Some(failure) if failure.error == "CompensationFailed" => {}
            Some(failure) => {
                let name = format!("{name} {}", failure.error);
                compare(&name, &held(&world).await, &trial.before).map_err(of_trial)?;
            }
        }
    }
    match world.services.snapshot(Some(OTHER)).await.unwrap() == others {
        true => Ok(MIGRATIONS),
        false => Err("the source of copies has changed".to_owned()),
    }
}

#[test]
fn whatever_comes_in_between_a_migration_does_all_or_nothing() {
    let ended = Mutex::default();
    let migrations = each_seed(rounds(), async |seed| history(seed, &ended).await);
    let ended = ended.into_inner().unwrap();
    println!("{migrations} migrations: {ended:?}");
    let count = |name: String| ended.get(&name).copied().unwrap_or_default();
    for kind in MigrationType::ALL {
        let completed = count(format!("{kind:?} {}", Status::Completed));
        let undone = [Status::Failed, Status::Cancelled].map(|status| count(format!("{kind:?} {status}")));
        let few = migrations / 100;
        assert!(completed > few && undone.iter().sum::<usize>() > few, "hardly any ended so: {kind:?}");
    }
}
