//! Writes down what a backup reads, in which order, and under which key.

use std::collections::{BTreeMap, BTreeSet};

use contracts::backup::BackupRequest;
use contracts::data_migration::DataSelector;
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{EntityType, catalogue};
use serde::Deserialize;
use serde_json::{Value, json};
use store::lease_of_backup;
use vault::{MANIFEST_FILE, key_context};

use super::{DataSet, FILE_CONTENT, Plan, files, key_failed, place, yes};
use crate::Context;
use crate::compliance::dataset;
use crate::files::lost;
use crate::harness::store_failed;
use crate::leases::{hold, hold_shared};

#[derive(Deserialize)]
struct Input {
    request: BackupRequest,
    /// Whether one is wanted.
    #[serde(default = "yes")]
    create: bool,
    /// Whether one of this name is as good: an earlier execution of the same job has made it.
    #[serde(default)]
    reuse: bool,
    /// What is archived, if it is an archive and not all that the services hold.
    #[serde(default)]
    selectors: Vec<DataSelector>,
    #[serde(default)]
    is_archive: bool,
    /// The person whose things are backed up, if it is not all that the services hold.
    #[serde(default)]
    subject: Option<String>,
}

/// Plans a backup: answers `{manifest, sets}`.
pub(crate) async fn plan(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { request, create, reuse, selectors, is_archive, subject } = context.input()?;
    let of_subject = subject.map(|subject| selectors_of(context, &subject)).transpose()?;
    let is_some_of_it = is_archive || of_subject.is_some();
    let selectors = of_subject.unwrap_or(selectors);
    let tenant_id = context.tenant_id();
    let create = create && !(reuse && is_there(context, &request.backup_id).await?);
    let sets = match create {
        true => {
            let all = sets(context, tenant_id, &request).await?;
            // Also what a migration selects that this is made for: it would fail after the backup.
            let chosen = selected(&all, &selectors)?;
            if is_archive {
                // Nobody changes what is being archived.
                let types = selectors.iter().map(|of| format!("{}/{}", of.service, of.entity_type)).collect();
                hold(context, tenant_id, types).await?;
            }
            if is_some_of_it { chosen } else { all }
        }
        false => Vec::new(),
    };
    let data_key = match create {
        true => {
            let purpose = key_context(tenant_id, &request.backup_id);
            Some(context.keys.new_data_key(&purpose).await.map_err(key_failed)?.1)
        }
        false => None,
    };
    let plan = Plan {
        backup_id: request.backup_id,
        began_at: context.clock.now(),
        data_key,
        sets,
        keep_days: request.keep_days,
        keep_count: request.keep_count,
        is_wanted: create,
        is_archive,
    };
    let files = files(context);
    let items: Vec<Value> = (0..plan.sets.len()).map(|set| json!({ "set": set })).collect();
    files.write_json(&files.manifest()?, &items).await?;
    files.write_json(&files.plan()?, &plan).await?;
    Ok(json!({ "manifest": files.manifest()?.to_string(), "sets": plan.sets.len() }))
}

/// What there is to read, in the order in which it is read; nobody has a backup of this name.
async fn sets(context: &Context<'_>, tenant_id: &str, request: &BackupRequest) -> Result<Vec<DataSet>, ActivityError> {
    hold(context, tenant_id, BTreeSet::from([lease_of_backup(&request.backup_id)])).await?;
    hold_shared(context).await?;
    if is_there(context, &request.backup_id).await? {
        let message = format!("the tenant has a backup {} already", request.backup_id);
        return Err(ActivityError::new(ErrorName::Conflict, message));
    }
    let mut types = Vec::new();
    for name in &request.services {
        let service = Service::named(name).ok_or_else(|| lost("the name of a service"))?;
        for entity_type in catalogue(context.downstream, service, tenant_id).await?.entity_types {
            types.push((service, entity_type));
        }
    }
    Ok(in_order(types).into_iter().flat_map(sets_of).collect())
}

/// What selects everything of a person, by the dataset map.
fn selectors_of(context: &Context<'_>, person: &str) -> Result<Vec<DataSelector>, ActivityError> {
    let dataset = dataset(context)?;
    let of = dataset.types.iter().filter_map(|of| {
        let filters = BTreeMap::from([(of.subject.clone()?, person.to_owned())]);
        let (service, entity_type) = (of.service.clone(), of.entity_type.clone());
        Some(DataSelector { service, entity_type, filters, include_relationships: false })
    });
    Ok(of.collect())
}

/// The data sets that are selected.
fn selected(sets: &[DataSet], selectors: &[DataSelector]) -> Result<Vec<DataSet>, ActivityError> {
    let is_of = |set: &DataSet, of: &DataSelector| set.service == of.service && set.listed_type() == of.entity_type;
    if let Some(of) = selectors.iter().find(|of| !sets.iter().any(|set| is_of(set, of))) {
        let message = format!("{} holds no {}", of.service, of.entity_type);
        return Err(ActivityError::new(ErrorName::InvalidInput, message));
    }
    let selected = sets.iter().filter_map(|set| {
        let selector = selectors.iter().find(|of| is_of(set, of))?;
        Some(DataSet { filters: selector.filters.clone(), ..set.clone() })
    });
    Ok(selected.collect())
}

/// Whether the tenant has a backup of this name.
async fn is_there(context: &Context<'_>, backup_id: &str) -> Result<bool, ActivityError> {
    let tenant_id = context.tenant_id();
    let manifest = place(tenant_id, backup_id, MANIFEST_FILE)?;
    let is_known = context.backups.backup(tenant_id, backup_id).await.map_err(store_failed)?.is_some();
    Ok(is_known || context.blobs.size(&manifest).await.map_err(store_failed)?.is_some())
}

/// Files have bytes besides.
fn sets_of((service, entity_type): (Service, EntityType)) -> Vec<DataSet> {
    let set = DataSet {
        service: service.as_str().to_owned(),
        entity_type: entity_type.name,
        schema_version: entity_type.schema_version,
        id_field: entity_type.id_field,
        is_content: false,
        filters: BTreeMap::new(),
    };
    if service != Service::File || set.entity_type != "file" {
        return vec![set];
    }
    let content = DataSet { entity_type: FILE_CONTENT.to_owned(), is_content: true, ..set.clone() };
    vec![set, content]
}

/// Types that refer to others before those; where they refer to each other in a circle, in the order of the services.
fn in_order(types: Vec<(Service, EntityType)>) -> Vec<(Service, EntityType)> {
    fn visit(place: usize, types: &[(Service, EntityType)], seen: &mut BTreeSet<usize>, order: &mut Vec<usize>) {
        if !seen.insert(place) {
            return;
        }
        for reference in &types[place].1.references {
            let is_referred_to = |(service, entity_type): &(Service, EntityType)| {
                service.as_str() == reference.service && entity_type.name == reference.entity_type
            };
            if let Some(place) = types.iter().position(is_referred_to) {
                visit(place, types, seen, order);
            }
        }
        order.push(place);
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for place in 0..types.len() {
        visit(place, &types, &mut seen, &mut order);
    }
    let mut types: Vec<_> = types.into_iter().map(Some).collect();
    order.into_iter().rev().filter_map(|place| types[place].take()).collect()
}

#[cfg(test)]
mod tests {
    use downstream::data::ReferenceField;

    use super::*;

    fn entity_type(name: &str, refers_to: &[(&str, &str)]) -> EntityType {
        let reference = |(service, entity_type): &(&str, &str)| ReferenceField {
            field: "x".to_owned(),
            service: (*service).to_owned(),
            entity_type: (*entity_type).to_owned(),
        };
        let references = refers_to.iter().map(reference).collect();
        EntityType { name: name.to_owned(), schema_version: 1, id_field: "id".to_owned(), references, replica_of: None }
    }

    #[test]
    fn what_refers_to_others_comes_first() {
        let types = vec![
            (Service::Auth, entity_type("account", &[])),
            (Service::User, entity_type("profile", &[("auth", "account"), ("file", "file")])),
            (Service::File, entity_type("workspace", &[("auth", "account")])),
            (Service::File, entity_type("file", &[("file", "workspace"), ("nobody", "nothing")])),
        ];
        let order: Vec<String> = in_order(types).into_iter().map(|(_, entity_type)| entity_type.name).collect();
        assert_eq!(order, ["profile", "file", "workspace", "account"]);
        let circle = vec![
            (Service::Auth, entity_type("a", &[("user", "b")])),
            (Service::User, entity_type("b", &[("auth", "a")])),
        ];
        assert_eq!(in_order(circle).len(), 2);
    }
}
