//! What a migration is about: which types, what becomes of them, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use contracts::data_migration::{DataMigrationRequest, DataSelector, MigrationType};
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{EntityType, catalogue};

use super::Set;
use super::change::{Change, Names};
use super::target::is_tenant;
use super::transform::{up_to, versions};
use crate::Context;

/// What services hold, by service and type.
pub(super) type Known = BTreeMap<(String, String), EntityType>;

/// Asks all services what they hold of a tenant.
pub(super) async fn known(context: &Context<'_>, tenant_id: &str) -> Result<Known, ActivityError> {
    let mut known = Known::new();
    for service in Service::ALL {
        for entity_type in catalogue(context.downstream, service, tenant_id).await?.entity_types {
            known.insert((service.as_str().to_owned(), entity_type.name.clone()), entity_type);
        }
    }
    Ok(known)
}

/// The sets of a request.
pub(super) fn of(request: &DataMigrationRequest, known: &Known) -> Result<Vec<Set>, ActivityError> {
    let mut sets = Vec::new();
    for selector in &request.data_selectors {
        let DataSelector { service, entity_type, .. } = selector;
        if !known.contains_key(&(service.clone(), entity_type.clone())) {
            let message = format!("{service} holds no {entity_type}");
            return Err(ActivityError::new(ErrorName::InvalidInput, message));
        }
        match request.migration_type {
            MigrationType::CrossServiceSync => sets.extend(copies(selector, known)?),
            MigrationType::SystemUpgrade => sets.push(upgraded(selector, known)?),
            MigrationType::DataArchival => sets.push(in_place(selector, known, Change::Removed)),
            MigrationType::TenantToTenant | MigrationType::DataRestore => {
                sets.push(renamed(request, known, service, entity_type, selector.filters.clone()));
            }
        }
    }
    if request.migration_type == MigrationType::TenantToTenant {
        // What is referred to is known when what refers to it is planned.
        sets.sort_by_key(|set| set.level);
    }
    Ok(sets)
}

/// Whatever is a copy of what a selector names.
fn copies(selector: &DataSelector, known: &Known) -> Result<Vec<Set>, ActivityError> {
    let DataSelector { service, entity_type, filters, .. } = selector;
    let sets: Vec<Set> = known
        .iter()
        .filter_map(|((to_service, to_type), of)| {
            let replica = of.replica_of.as_ref()?;
            let is_copy = replica.service == *service && replica.entity_type == *entity_type;
            is_copy.then(|| Set {
                service: service.clone(),
                entity_type: entity_type.clone(),
                to_service: to_service.clone(),
                to_type: to_type.clone(),
                filters: filters.clone(),
                change: Change::Copied { id_field: of.id_field.clone(), fields: replica.fields.clone() },
                level: level(known, to_service, to_type),
                watermark: String::new(),
                ids: None,
                ranges: None,
                same: 0,
                brings: false,
            })
        })
        .collect();
    if sets.is_empty() {
        let message = format!("no service keeps copies of {service}/{entity_type}");
        return Err(ActivityError::new(ErrorName::InvalidInput, message));
    }
    Ok(sets)
}

/// Things that are brought to the schema version that their service has now.
fn upgraded(selector: &DataSelector, known: &Known) -> Result<Set, ActivityError> {
    let DataSelector { service, entity_type, .. } = selector;
    let of = known.get(&(service.clone(), entity_type.clone()));
    let version = of.map_or(0, |of| of.schema_version);
    let transformations = up_to(service, entity_type, version);
    if transformations.is_empty() {
        let there = match versions(service, entity_type).as_slice() {
            [] => "none is declared".to_owned(),
            versions => format!("those to {versions:?} are for a newer version of the service"),
        };
        let message = format!(
            "there is no transformation of {service}/{entity_type} up to its schema version {version}: {there}"
        );
        return Err(ActivityError::new(ErrorName::InvalidInput, message));
    }
    Ok(in_place(selector, known, Change::Transformed { transformations }))
}

/// Things that are changed where they are.
fn in_place(selector: &DataSelector, known: &Known, change: Change) -> Set {
    let DataSelector { service, entity_type, filters, .. } = selector;
    Set {
        service: service.clone(),
        entity_type: entity_type.clone(),
        to_service: service.clone(),
        to_type: entity_type.clone(),
        filters: filters.clone(),
        change,
        level: level(known, service, entity_type),
        watermark: String::new(),
        ids: None,
        ranges: None,
        same: 0,
        brings: false,
    }
}

/// Things that go into another tenant.
pub(super) fn renamed(
    request: &DataMigrationRequest,
    known: &Known,
    service: &str,
    entity_type: &str,
    filters: BTreeMap<String, String>,
) -> Set {
    let of = known.get(&(service.to_owned(), entity_type.to_owned()));
    let names = Names {
        source: request.source_tenant_id.clone().unwrap_or_default(),
        target: request.target_tenant_id.clone(),
        ids_of: ids_of(known),
    };
    Set {
        service: service.to_owned(),
        entity_type: entity_type.to_owned(),
        to_service: service.to_owned(),
        to_type: entity_type.to_owned(),
        filters,
        change: Change::Renamed { id_field: of.map(|of| of.id_field.clone()).unwrap_or_default(), names },
        level: level(known, service, entity_type),
        watermark: String::new(),
        ids: None,
        ranges: None,
        same: 0,
        brings: false,
    }
}

/// For each type the one whose ids it has.
fn ids_of(known: &Known) -> BTreeMap<String, String> {
    known
        .keys()
        .map(|(service, entity_type)| (format!("{service}/{entity_type}"), owner(known, service, entity_type)))
        .collect()
}

fn owner(known: &Known, service: &str, entity_type: &str) -> String {
    let (mut at, mut seen) = ((service.to_owned(), entity_type.to_owned()), BTreeSet::new());
    while seen.insert(at.clone()) {
        let Some(of) = known.get(&at) else { break };
        let replica = of.replica_of.as_ref().map(|replica| (&replica.service, &replica.entity_type));
        let mut references = of.references.iter().filter(|reference| reference.field == of.id_field);
        let referred = references.next().map(|reference| (&reference.service, &reference.entity_type));
        match replica.or(referred) {
            Some((service, entity_type)) => at = (service.clone(), entity_type.clone()),
            None => break,
        }
    }
    format!("{}/{}", at.0, at.1)
}

/// How many levels of other types a type refers to. Whatever belongs to a tenant comes after the tenant itself.
pub(super) fn level(known: &Known, service: &str, entity_type: &str) -> u32 {
    fn visit(known: &Known, at: (String, String), seen: &mut BTreeSet<(String, String)>) -> u32 {
        let Some(of) = known.get(&at).filter(|_| seen.insert(at.clone())) else { return 0 };
        let references = of.references.iter();
        let deepest = references.map(|to| visit(known, (to.service.clone(), to.entity_type.clone()), seen) + 1).max();
        seen.remove(&at);
        deepest.unwrap_or_default()
    }
    match is_tenant(service, entity_type) {
        true => 0,
        false => visit(known, (service.to_owned(), entity_type.to_owned()), &mut BTreeSet::new()) + 1,
    }
}

#[cfg(test)]
mod tests {
    use downstream::data::{ReferenceField, Replica};

    use super::*;

    fn add(known: &mut Known, service: &str, name: &str, id_field: &str, refers: &[(&str, &str, &str)]) {
        let references = refers.iter().map(|(field, service, entity_type)| ReferenceField {
            field: (*field).to_owned(),
            service: (*service).to_owned(),
            entity_type: (*entity_type).to_owned(),
        });
        let of = EntityType {
            name: name.to_owned(),
            schema_version: 1,
            id_field: id_field.to_owned(),
            references: references.collect(),
            replica_of: None,
        };
        known.insert((service.to_owned(), name.to_owned()), of);
    }

    #[test]
    fn what_others_refer_to_comes_before_them_and_ids_are_their_owners() {
        let mut known = Known::new();
        add(&mut known, "auth", "account", "user_id", &[]);
        add(&mut known, "tenant", "tenant", "tenant_id", &[]);
        add(&mut known, "user", "profile", "profile_id", &[("user_id", "auth", "account")]);
        add(&mut known, "tenant", "membership", "user_id", &[("user_id", "auth", "account")]);
        add(&mut known, "tenant", "copy", "profile_id", &[("profile_id", "user", "profile")]);
        add(&mut known, "file", "a", "id", &[("b", "file", "b")]);
        add(&mut known, "file", "b", "id", &[("a", "file", "a")]);
        let copy = known.get_mut(&("tenant".to_owned(), "copy".to_owned())).expect("it is there");
        let (service, entity_type) = ("user".to_owned(), "profile".to_owned());
        copy.replica_of = Some(Replica { service, entity_type, fields: BTreeMap::new() });
        let levels = [("tenant", "tenant"), ("auth", "account"), ("user", "profile"), ("tenant", "copy")];
        assert_eq!(levels.map(|(service, name)| level(&known, service, name)), [0, 1, 2, 3]);
        assert!(level(&known, "file", "a") < 9, "a circle ends");
        let ids = ids_of(&known);
        assert_eq!(ids["tenant/membership"], "auth/account");
        assert_eq!(ids["tenant/copy"], "user/profile");
        assert_eq!(ids["user/profile"], "user/profile");
    }
}
