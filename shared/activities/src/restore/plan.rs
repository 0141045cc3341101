//! Checks a backup from its signature to its last byte, and writes down in which order it is restored.

use contracts::backup::RestoreRequest;
use contracts::{ActivityError, ErrorName};
use serde::Deserialize;
use serde_json::{Value, json};
use vault::{MANIFEST_FILE, Manifest, PartEntry};

use super::{Plan, is_same_type};
use crate::Context;
use crate::backup::{FILE_CONTENT, Vault, key_failed, place};
use crate::leases::hold;

#[derive(Deserialize)]
struct Input {
    request: RestoreRequest,
}

/// Plans a restore: answers `{manifest, total}`.
pub(crate) async fn plan(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { request } = context.input()?;
    let tenant_id = context.tenant_id();
    let files = context.files();
    let text = files.read_whole(&place(tenant_id, &request.backup_id, MANIFEST_FILE)?).await?;
    let none = || {
        let message = format!("the tenant has no backup {}", request.backup_id);
        ActivityError::new(ErrorName::NotFound, message)
    };
    let keys = context.keys.public_keys().await.map_err(key_failed)?;
    let manifest = Manifest::open(&text.ok_or_else(none)?, &keys, &request.backup_id, tenant_id)
        .map_err(|error| ActivityError::new(ErrorName::IntegrityViolation, error.to_string()))?;
    let vault = Vault::of(context, &request.backup_id, &manifest.data_key).await?;
    for part in &manifest.parts {
        let mut opened = vault.open(part).await?;
        while opened.next().await?.is_some() {}
        let found = opened.finish()?;
        manifest
            .compare(&part.name, &found)
            .map_err(|error| ActivityError::new(ErrorName::IntegrityViolation, error.to_string()))?;
    }
    if !request.dry_run {
        let types = manifest
            .services
            .iter()
            .flat_map(|service| service.types.iter().map(|of| format!("{}/{}", service.service, of.entity_type)));
        hold(context, types.collect()).await?;
    }
    // The backup has what refers to others first; the bytes of files follow the files.
    let mut types: Vec<&[PartEntry]> = manifest.parts.chunk_by(is_same_type).collect();
    types.reverse();
    let mut parts = types.concat();
    parts.sort_by_key(|part| part.entity_type == FILE_CONTENT);
    let things = |of: &&vault::TypeSummary| of.entity_type != FILE_CONTENT;
    let total: u64 = manifest.services.iter().flat_map(|of| &of.types).filter(things).map(|of| of.items).sum();
    let items: Vec<Value> = (0..parts.len()).map(|part| json!({ "part": part })).collect();
    let RestoreRequest { backup_id, on_conflict, dry_run, .. } = request;
    let plan = Plan { backup_id, on_conflict, dry_run, data_key: manifest.data_key.clone(), parts };
    files.write_json(&files.manifest()?, &items).await?;
    files.write_json(&files.plan()?, &plan).await?;
    Ok(json!({ "manifest": files.manifest()?.to_string(), "total": total }))
}
