//! Looks up what there is of a person, in which order it goes, and whether there is such a person.

use std::collections::{BTreeMap, BTreeSet};

use contracts::compliance::{ComplianceWorkflowRequest, ERASURE_BACKUP};
use contracts::dataset::{ACCOUNT, Category, Dataset, DatasetType, SESSION, is_own};
use contracts::holds::{Hold, HoldScope};
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{catalogue, thing};
use serde::Deserialize;
use serde_json::{Value, json};
use store::Erasure;

use super::complete::result_of;
use super::ledger::{erasures_of, key_of};
use super::page::service_of;
use super::strategy::is_covered;
use super::{Plan, Referring, files, files_of};
use crate::Context;
use crate::compliance::dataset;
use crate::compliance::plan::{find, refuse_unknown, unknown_types};
use crate::files::lost;
use crate::harness::store_failed;
use crate::leases::{hold, hold_alone};

#[derive(Deserialize)]
struct Input {
    request: ComplianceWorkflowRequest,
}

/// Plans an erasure: answers `{manifest, sets}`.
pub(crate) async fn plan(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { request } = context.input()?;
    let subject = request.subject_user_id.clone().ok_or_else(|| lost("the person whom the erasure is about"))?;
    let dataset = dataset(context)?;
    let types: BTreeSet<String> = dataset.types.iter().map(DatasetType::name).collect();
    let fence = match take_leases(context, types).await {
        Err(error) if request.waits_for_others && error.error == ErrorName::Conflict.as_str() => {
            return Err(ActivityError::new(ErrorName::WaitingForOthers, error.cause.message));
        }
        fence => fence?,
    };
    let subject_hash = key_of(context).await?.keyed_hash(&subject);
    let erasures = erasures_of(context, &subject_hash).await?;
    let own = erasures.iter().find(|erasure| erasure.compliance_id == request.compliance_id);
    let last = own.or_else(|| erasures.iter().max_by_key(|erasure| erasure.began_at));
    // Where an earlier execution has begun there may be nothing left of the person, and still something to do, such as a
    // service that did not forget them.
    let earlier = match last {
        Some(last) if !last.is_complete || last.compliance_id == request.compliance_id => {
            done_by(context, last).await?
        }
        last => match (find(context, &dataset, &subject, false).await, last) {
            (Ok(()), _) => Earlier::default(),
            // What is asked for is done, and what came in since is forgotten.
            (Err(error), Some(last)) if error.error == ErrorName::NotFound.as_str() => done_by(context, last).await?,
            (Err(error), _) => return Err(error),
        },
    };
    let is_whole = Category::ASKED_FOR.iter().all(|category| category.is_asked_for(&request.data_categories));
    let (sets, left): (Vec<_>, Vec<_>) =
        in_order(&dataset).into_iter().partition(|of| is_whole || is_covered(of, &request.data_categories));
    let left_out = left.iter().filter(|of| of.has(&request.data_categories)).map(DatasetType::name).collect();
    if sets.is_empty() {
        let message = "the dataset map has no type that consists of the categories that are asked for";
        return Err(ActivityError::new(ErrorName::NotFound, message));
    }
    let plan = Plan {
        subject_hash,
        subject: subject.clone(),
        backup_id: format!("{ERASURE_BACKUP}{}", request.compliance_id),
        compliance_id: request.compliance_id,
        categories: request.data_categories,
        is_whole,
        received_at: request.received_at.unwrap_or(context.call.workflow.started_at),
        legal_basis: request.legal_basis,
        fence,
        earlier: earlier.done,
        earlier_addresses: earlier.addresses,
        earlier_backups: erasures.into_iter().filter_map(|erasure| erasure.backup_id).collect(),
        referring: referring(context, &dataset).await?,
        sets,
        left_out,
    };
    let files = files(context);
    let items: Vec<Value> = (0..plan.sets.len()).map(|set| json!({ "set": set })).collect();
    files.write_json(&files.manifest()?, &items).await?;
    files.write_json(&files.plan()?, &plan).await?;
    Ok(json!({ "manifest": files.manifest()?.to_string(), "sets": plan.sets.len() }))
}

/// The legal holds that may keep something of a person: of other persons' none do.
pub(super) async fn holds(context: &Context<'_>, person: &str) -> Result<Vec<Hold>, ActivityError> {
    let holds = context.holds.active(context.tenant_id(), context.clock.now()).await.map_err(store_failed)?;
    let is_other =
        |hold: &Hold| matches!(&hold.scope, HoldScope::Subject { subject_user_id, .. } if subject_user_id != person);
    Ok(holds.into_iter().filter(|hold| !is_other(hold)).collect())
}

/// Nobody copies, restores or reads everything meanwhile.
async fn take_leases(context: &Context<'_>, types: BTreeSet<String>) -> Result<u64, ActivityError> {
    hold_alone(context).await?;
    hold(context, context.tenant_id(), types).await
}

/// What an earlier erasure of the person has done, and those that it went on with.
#[derive(Default)]
struct Earlier {
    /// By type, things that were deleted, and those that were masked.
    done: BTreeMap<String, (u64, u64)>,
    addresses: BTreeSet<String>,
}

async fn done_by(context: &Context<'_>, erasure: &Erasure) -> Result<Earlier, ActivityError> {
    let id = &erasure.execution_id;
    if let Some(result) = context.files().read::<Value>(&result_of(context, id)?).await? {
        let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
        let name = |of: &Value| format!("{}/{}", text(of, "service"), text(of, "entity_type"));
        let types = result["per_type"].as_array().into_iter().flatten();
        let done = types.map(|of| (name(of), (number(of, "deleted"), number(of, "masked")))).collect();
        return Ok(Earlier { done, addresses: BTreeSet::new() });
    }
    let (files, mut earlier) = (files_of(context, id), Earlier::default());
    let Some(plan) = files.plan_if_written::<Plan>().await? else { return Ok(earlier) };
    earlier.addresses.extend(plan.earlier_addresses.iter().cloned());
    for (of, state) in plan.sets.iter().zip(plan.states(&files).await?) {
        let (mut deleted, mut masked) = plan.done(of, &state);
        // Ended by force in the middle of a call, it never learned what came of it.
        for doing in &state.under_way {
            let found =
                thing(context.downstream, service_of(of)?, &of.entity_type, context.tenant_id(), &doing.id).await?;
            match (found, doing.mask.is_empty()) {
                (None, true) => deleted += 1,
                (Some(thing), false) if !is_own(of, &thing.data, &plan.subject) => masked += 1,
                _ => {}
            }
        }
        earlier.done.insert(of.name(), (deleted, masked));
        earlier.addresses.extend(state.addresses);
    }
    Ok(earlier)
}

fn text<'v>(of: &'v Value, name: &str) -> &'v str {
    of[name].as_str().unwrap_or_default()
}

/// The types of the map that refer to others.
async fn referring(context: &Context<'_>, dataset: &Dataset) -> Result<Vec<Referring>, ActivityError> {
    let (mut all, mut unknown) = (Vec::new(), Vec::new());
    for service in Service::ALL {
        let known = catalogue(context.downstream, service, context.tenant_id()).await?;
        unknown.extend(unknown_types(dataset, service, &known));
        for of in dataset.types.iter().filter(|of| of.service == service.as_str()) {
            let references = known.entity_types.iter().filter(|known| known.name == of.entity_type);
            let references = references.flat_map(|known| &known.references);
            let others = references.filter(|reference| of.subject.as_ref() != Some(&reference.field));
            all.extend(others.map(|reference| Referring {
                of: of.clone(),
                field: reference.field.clone(),
                to: format!("{}/{}", reference.service, reference.entity_type),
            }));
        }
    }
    refuse_unknown(&unknown)?;
    Ok(all)
}

/// The types, each after those that the map wants to go before; otherwise as they stand in the map. Sessions come first and accounts
/// last.
fn in_order(dataset: &Dataset) -> Vec<DatasetType> {
    fn visit<'d>(of: &'d DatasetType, by_name: &BTreeMap<String, &'d DatasetType>, order: &mut Vec<&'d DatasetType>) {
        // The map has no circles.
        if order.contains(&of) {
            return;
        }
        of.after.iter().filter_map(|name| by_name.get(name)).for_each(|before| visit(before, by_name, order));
        order.push(of);
    }
    let by_name: BTreeMap<String, &DatasetType> = dataset.types.iter().map(|of| (of.name(), of)).collect();
    let mut order = Vec::new();
    dataset.types.iter().for_each(|of| visit(of, &by_name, &mut order));
    // Stable: the order stays as it is otherwise.
    order.sort_by_key(|of| match of.name().as_str() {
        SESSION => 0,
        ACCOUNT => 2,
        _ => 1,
    });
    order.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_goes_after_those_that_go_before() {
        let of = |after: &[&str]| json!({ "subject": "user_id", "after": after, "fields": { "a": { "category": "usage", "strategy": "delete" } } });
        let map = json!({
            "version": 1,
            "auth": { "account": of(&["auth/session", "user/profile"]), "session": of(&[]) },
            "user": { "profile": of(&[]), "usage": of(&["user/profile"]) },
        });
        let dataset = Dataset::read(&map).expect("a good map");
        let names: Vec<String> = in_order(&dataset).iter().map(DatasetType::name).collect();
        assert_eq!(names, ["auth/session", "user/profile", "user/usage", "auth/account"]);
    }
}
