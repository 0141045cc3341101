//! Checks a backup from its signature to its last byte, and writes down in which order it is restored.

use std::collections::{BTreeMap, BTreeSet};

use contracts::backup::{RestoreConflict, RestoreRequest};
use contracts::effect::hex;
use contracts::{ActivityError, ErrorName};
use downstream::Service;
use downstream::data::{Thing, catalogue};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::{ended_backup, lease_of_backup};
use vault::{DocumentError, MANIFEST_FILE, Manifest, ManifestError, PartEntry, ServiceSummary};

use super::undo::ids_of;
use super::{Plan, Selected, Target, drill, files, is_same_type, is_tenant, mark_of, selected_of};
use crate::Context;
use crate::backup::{FILE_CONTENT, Vault, canonical, key_failed, place};
use crate::compliance::erasure::Erased;
use crate::files::lost;
use crate::harness::store_failed;
use crate::leases::hold;

#[derive(Deserialize)]
struct Input {
    request: RestoreRequest,
}

/// Plans a restore: answers `{manifest, total}`.
pub(crate) async fn plan(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { request } = context.input()?;
    let planned = check_and_plan(context, &request).await;
    if let Err(error) = &planned
        && request.drill
        && !error.is_retryable()
    {
        drill::failed(context, &request.tenant_id, &request.backup_id, &error.error).await?;
    }
    planned
}

async fn check_and_plan(context: &Context<'_>, request: &RestoreRequest) -> Result<Value, ActivityError> {
    let planned = plan_some(context, request, None).await?;
    let files = files(context);
    let items: Vec<Value> = (0..planned.parts).map(|part| json!({ "part": part })).collect();
    files.write_json(&files.manifest()?, &items).await?;
    Ok(json!({ "manifest": files.manifest()?.to_string(), "total": planned.total }))
}

/// What a restore has to do.
pub(crate) struct Planned {
    pub(crate) parts: usize,
    /// Things in them; the bytes of files are none.
    pub(crate) total: u64,
    /// What they are things of: `auth/account`.
    pub(crate) types: BTreeSet<String>,
}

/// Plans to restore what is selected of a backup, or all of it.
pub(crate) async fn plan_some(
    context: &Context<'_>,
    request: &RestoreRequest,
    selected: Option<Vec<Selected>>,
) -> Result<Planned, ActivityError> {
    let RestoreRequest { backup_id, tenant_id, target_tenant_id, drill, on_conflict, dry_run } = request;
    // Before it is looked at: it must not be removed meanwhile.
    hold(context, tenant_id, BTreeSet::from([lease_of_backup(backup_id)])).await?;
    let mut manifest = manifest(context, tenant_id, backup_id).await?;
    let erased = Erased::since(context, tenant_id, manifest.began_at, backup_id).await?;
    let erased = check_parts(context, &manifest, &erased).await?;
    if let Some(selected) = &selected {
        keep_selected(&mut manifest, selected)?;
    }
    let target = match (drill, target_tenant_id) {
        (true, _) => drill::tenant_of(context),
        (false, Some(target)) => target.clone(),
        (false, None) => tenant_id.clone(),
    };
    let tenant_id_field = check_types(context, &manifest.services, &target).await?;
    let fence = match dry_run {
        true => None,
        false => Some(hold(context, &target, data_sets(&manifest.services)).await?),
    };
    // The backup has what refers to others first; the bytes of files follow the files.
    let mut types: Vec<&[PartEntry]> = manifest.parts.chunk_by(is_same_type).collect();
    types.reverse();
    let mut parts = types.concat();
    parts.sort_by_key(|part| part.entity_type == FILE_CONTENT);
    let plan = Plan {
        backup_id: backup_id.clone(),
        tenant_id: tenant_id.clone(),
        target: Target { tenant_id: target, tenant_id_field },
        is_drill: *drill,
        recovery_point: manifest.created_at,
        // The tenant of a drill is empty.
        on_conflict: if *drill { RestoreConflict::Fail } else { *on_conflict },
        dry_run: *dry_run,
        fence,
        data_key: manifest.data_key.clone(),
        parts,
        selected,
        erased,
    };
    let files = files(context);
    files.write_json(&files.plan()?, &plan).await?;
    let total = count(context, &plan).await?;
    Ok(Planned { parts: plan.parts.len(), total, types: data_sets(&manifest.services) })
}

/// Leaves of a manifest what is selected.
fn keep_selected(manifest: &mut Manifest, selected: &[Selected]) -> Result<(), ActivityError> {
    for Selected { service, entity_type, .. } in selected {
        let has =
            |of: &ServiceSummary| of.service == *service && of.types.iter().any(|of| of.entity_type == *entity_type);
        if !manifest.services.iter().any(has) {
            let message = format!("{} holds no {service}/{entity_type}", manifest.backup_id);
            return Err(ActivityError::new(ErrorName::NotFound, message));
        }
    }
    let is_selected = |service: &str, entity_type: &str| selected_of(Some(selected), service, entity_type).is_some();
    for ServiceSummary { service, types } in &mut manifest.services {
        types.retain(|of| is_selected(service, &of.entity_type));
    }
    manifest.parts.retain(|part| is_selected(&part.service, &part.entity_type));
    Ok(())
}

/// How many things a restore has to write.
async fn count(context: &Context<'_>, plan: &Plan) -> Result<u64, ActivityError> {
    let (vault, mut total) = (plan.vault(context).await?, 0);
    for part in plan.parts.iter().filter(|part| part.entity_type != FILE_CONTENT) {
        match plan.is_filtered(part) {
            true => total += ids_of(plan, &vault, part).await?.len() as u64,
            false => total += part.items,
        }
    }
    Ok(total)
}

/// The manifest, if it is signed by this installation and the backup is not being removed.
pub(crate) async fn manifest(
    context: &Context<'_>,
    tenant_id: &str,
    backup_id: &str,
) -> Result<Manifest, ActivityError> {
    let known = context.backups.backup(tenant_id, backup_id).await.map_err(store_failed)?;
    let text = match known.is_some_and(|backup| backup.removing_since.is_some()) {
        true => None,
        false => files(context).read_whole(&place(tenant_id, backup_id, MANIFEST_FILE)?).await?,
    };
    let Some(text) = text else { return Err(missing(context, tenant_id, backup_id).await?) };
    let keys = context.keys.public_keys().await.map_err(key_failed)?;
    Manifest::open(&text, &keys, backup_id, tenant_id).map_err(|error| {
        let hint = match &error {
            ManifestError::Document(DocumentError::UnknownKey { .. }) => {
                "; if this installation has another key file than when the backup was made, bring that one back"
            }
            _ => "",
        };
        ActivityError::new(ErrorName::IntegrityViolation, format!("{error}{hint}"))
    })
}

/// Of a backup that an erasure had made it is known that there was one, and when it went.
async fn missing(context: &Context<'_>, tenant_id: &str, backup_id: &str) -> Result<ActivityError, ActivityError> {
    let ended =
        ended_backup(context.erasures, tenant_id, backup_id, context.clock.now()).await.map_err(store_failed)?;
    let message = match ended {
        Some(until) => format!("the backup {backup_id} was kept until {until}, and is destroyed"),
        None => format!("the tenant has no backup {backup_id}"),
    };
    Ok(ActivityError::new(ErrorName::NotFound, message))
}

/// Reads every byte of every part, and compares the digest of each type; what there is of persons who have been erased, by
/// [`mark_of`].
pub(crate) async fn check_parts(
    context: &Context<'_>,
    manifest: &Manifest,
    erased: &Erased,
) -> Result<BTreeSet<String>, ActivityError> {
    let vault = Vault::of(context, &manifest.tenant_id, &manifest.backup_id, &manifest.data_key).await?;
    let (mut marks, mut digests) = (BTreeSet::new(), BTreeMap::<(&str, &str), Sha256>::new());
    for part in &manifest.parts {
        let PartEntry { service, entity_type, .. } = part;
        let digest = digests.entry((service, entity_type)).or_default();
        let mut opened = vault.open(part).await?;
        while let Some(line) = opened.next().await? {
            if entity_type == FILE_CONTENT {
                digest.update(&line);
                digest.update(b"\n");
                continue;
            }
            let thing: Thing = serde_json::from_slice(&line).map_err(|_| lost("a line of a backup"))?;
            digest.update(canonical(&thing));
            if erased.has_any() && erased.has(service, entity_type, &thing) {
                marks.insert(mark_of(service, entity_type, &thing.id));
            }
        }
        let found = opened.finish()?;
        manifest
            .compare(&part.name, &found)
            .map_err(|error| ActivityError::new(ErrorName::IntegrityViolation, error.to_string()))?;
    }
    for ServiceSummary { service, types } in &manifest.services {
        for of in types {
            let digest = digests.remove(&(&**service, &*of.entity_type)).unwrap_or_default();
            if hex(&digest.finalize()) != of.digest {
                return Err(lost(&format!("the {service}/{} of the backup", of.entity_type)));
            }
        }
    }
    Ok(marks)
}

/// Looks whether the services still take what is in the backup; the field of a tenant that holds its id.
async fn check_types(
    context: &Context<'_>,
    services: &[ServiceSummary],
    target: &str,
) -> Result<String, ActivityError> {
    let mut tenant_id_field = "tenant_id".to_owned();
    for ServiceSummary { service: name, types } in services {
        let service = Service::named(name).ok_or_else(|| lost("the service of a part"))?;
        let known = catalogue(context.downstream, service, target).await?.entity_types;
        for of in types.iter().filter(|of| of.entity_type != FILE_CONTENT) {
            let now = known.iter().find(|known| known.name == of.entity_type);
            let entity_type = &of.entity_type;
            let message = match now {
                Some(now) if now.schema_version == of.schema_version => {
                    if is_tenant(name, entity_type) {
                        tenant_id_field.clone_from(&now.id_field);
                    }
                    continue;
                }
                Some(now) => format!(
                    "{name}: the backup has {entity_type} of schema version {}, and the service has {} now",
                    of.schema_version, now.schema_version
                ),
                None => format!("{name}: the service has no {entity_type} any more, and the backup has"),
            };
            return Err(ActivityError::new(ErrorName::ServiceRejected, message));
        }
    }
    Ok(tenant_id_field)
}

/// The data sets of all types; the bytes of files are a part of the files.
fn data_sets(services: &[ServiceSummary]) -> BTreeSet<String> {
    let of = |service: &ServiceSummary| {
        let types = service.types.iter().map(|of| format!("{}/{}", service.service, of.entity_type));
        types.collect::<Vec<_>>()
    };
    services.iter().flat_map(of).collect()
}
