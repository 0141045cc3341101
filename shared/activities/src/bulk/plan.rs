//! Writes the file of entities, and cuts it into batches.

use std::collections::BTreeSet;

use contracts::bulk_operation::BulkOperationRequest;
use contracts::{ActivityError, ErrorName};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::dry_run::batches_in_a_call;
use super::{BatchPart, Entity, EntityStatus, Origin, Outcome, Plan, input, upload};
use crate::Context;
use crate::files::{Files, push_line, write_blob};
use crate::harness::store_failed;
use crate::leases::hold;

/// Entities are written in parts of about so many bytes.
const PART_BYTES: usize = 256 * 1024;

#[derive(Deserialize)]
struct Input {
    request: BulkOperationRequest,
    origin: Option<Origin>,
}

/// The entities of a job, in the order of its input.
type Entities<'a> = BoxStream<'a, Result<Entity, ActivityError>>;

/// Plans the job: answers `{manifest, batches, total, batch_size, stops_at}`.
pub(crate) async fn plan(context: &Context<'_>) -> Result<Value, ActivityError> {
    let Input { request, origin } = context.input()?;
    let files = context.files();
    let entities = match &origin {
        Some(origin) => left_by(context, origin).await?,
        None => None,
    };
    let entities = match (entities, &request.input) {
        (Some(entities), _) => entities,
        (None, Some(input)) => uploaded(context, &request, &input.upload_id).await?,
        (None, None) => given(&request),
    };
    let cut = match write(&files, entities, request.batch_options.batch_size).await {
        Err(error) if error.error == ErrorName::InvalidInput.as_str() => {
            // Nobody can use it.
            if let Some(input) = &request.input {
                files.empty_upload(&input.upload_id).await?;
            }
            return Err(error);
        }
        cut => cut?,
    };
    let fence = match request.operation_type.changes_entities() && !request.batch_options.dry_run {
        true => Some(hold(context, context.tenant_id(), cut.data_sets.clone()).await?),
        false => None,
    };
    let (total, batch_size) = (cut.total, request.batch_options.batch_size_for(cut.total));
    let (units, dry_run) = (batch_size / request.batch_options.batch_size, request.batch_options.dry_run);
    let parts = cut.parts(if dry_run { units * batches_in_a_call(batch_size) } else { units });
    files.write_json(&files.manifest()?, &parts).await?;
    // A dry run asks about all entities. Where a real one would stop is seen in the end.
    let stops_at = request.batch_options.stops_at(total).filter(|_| !dry_run);
    let plan = Plan {
        operation_id: request.operation_id,
        operation: request.operation_type,
        data: request.operation_data,
        options: request.batch_options,
        effect_scope: origin.map_or_else(|| context.execution_id().to_owned(), |origin| origin.effect_scope),
        total,
        batches: parts.len() as u64,
        batch_size,
        fence,
        upload_id: request.input.map(|input| input.upload_id),
    };
    files.write_json(&files.plan()?, &plan).await?;
    // From now on it is known how far the job is.
    context.report(Map::from_iter([("total_entities".to_owned(), total.into())]))?;
    Ok(json!({
        "manifest": files.manifest()?.to_string(), "batches": plan.batches, "total": total, "batch_size": batch_size,
        "stops_at": stops_at,
    }))
}

/// The entities of the request itself.
fn given(request: &BulkOperationRequest) -> Entities<'static> {
    let entities: Vec<Entity> = (0..)
        .zip(&request.target_entities)
        .map(|(index, target)| Entity {
            index,
            service: target.service.clone(),
            entity_type: target.entity_type.clone(),
            entity_id: target.entity_id.clone(),
            operation_data: target.operation_data.clone(),
            problem: None,
            row: String::new(),
        })
        .collect();
    stream::iter(entities).map(Ok).boxed()
}

/// The entities of an uploaded file.
async fn uploaded<'a>(
    context: &Context<'_>,
    request: &'a BulkOperationRequest,
    upload_id: &str,
) -> Result<Entities<'a>, ActivityError> {
    let key = upload(context.tenant_id(), upload_id)?;
    let body = match context.blobs.size(&key).await.map_err(store_failed)? {
        // Only an empty blob is left where a job has used it.
        None | Some(0) => None,
        Some(_) => context.blobs.get(&key).await.map_err(store_failed)?,
    };
    let gone = || {
        ActivityError::new(
            ErrorName::NotFound,
            "what was uploaded is gone with the job that used it: upload the file again, for another operation_id",
        )
    };
    Ok(input::entities(body.ok_or_else(gone)?, request))
}

/// The entities that the execution before this one did not do; none if it had not even planned.
async fn left_by<'a>(context: &'a Context<'_>, origin: &'a Origin) -> Result<Option<Entities<'a>>, ActivityError> {
    let files = context.files_of(&origin.execution_id);
    let Some(plan) = files.read::<Plan>(&files.plan()?).await? else { return Ok(None) };
    // It has done nothing, whatever its batches say.
    let is_whole = plan.options.dry_run;
    let parts = files.read_manifest().await?;
    let left = stream::iter(parts).then(move |part| async move {
        let files = context.files_of(&origin.execution_id);
        let entities = files.read_entities(&part).await?;
        let outcomes = files.read_outcomes(part.batch).await?.unwrap_or_default();
        // A malformed row stays one.
        let left = entities.into_iter().filter(|entity| entity.problem.is_none());
        let left = left.filter(|entity| is_whole || is_left(entity, &outcomes, origin.only_failed));
        Ok(stream::iter(left.map(Ok).collect::<Vec<_>>()))
    });
    Ok(Some(left.try_flatten().boxed()))
}

fn is_left(entity: &Entity, outcomes: &[Outcome], only_failed: bool) -> bool {
    let found = outcomes.binary_search_by_key(&entity.index, |outcome| outcome.index);
    match found.map(|found| outcomes[found].status) {
        Ok(EntityStatus::Succeeded) => false,
        Ok(EntityStatus::Failed) => true,
        Ok(EntityStatus::Unprocessed) | Err(_) => !only_failed,
    }
}

/// Where the file of entities may be cut.
struct Cut {
    total: u64,
    /// Where every unit begins, which has as many entities as a batch was asked to have.
    begins: Vec<u64>,
    bytes: u64,
    /// What the entities are of: service and entity type.
    data_sets: BTreeSet<String>,
}

impl Cut {
    /// Batches of so many units.
    fn parts(&self, units: u64) -> Vec<BatchPart> {
        let units = usize::try_from(units.max(1)).unwrap_or(usize::MAX);
        let begins: Vec<u64> = self.begins.iter().copied().step_by(units).collect();
        let ends = begins.iter().skip(1).copied().chain([self.bytes]);
        let part =
            |(batch, (offset, end)): (u64, (&u64, u64))| BatchPart { batch, offset: *offset, length: end - offset };
        (0..).zip(begins.iter().zip(ends)).map(part).collect()
    }
}

/// Writes the entities, and notes where they may be cut.
async fn write(files: &Files<'_>, mut entities: Entities<'_>, unit: u64) -> Result<Cut, ActivityError> {
    write_blob(files.blobs, &files.entities()?, async |writer| {
        let mut cut = Cut { total: 0, begins: Vec::new(), bytes: 0, data_sets: BTreeSet::new() };
        let mut part = Vec::with_capacity(PART_BYTES);
        while let Some(entity) = entities.try_next().await? {
            if cut.total.is_multiple_of(unit) {
                cut.begins.push(cut.bytes);
            }
            let data_set = format!("{}/{}", entity.service, entity.entity_type);
            if entity.problem.is_none() && !cut.data_sets.contains(&data_set) {
                cut.data_sets.insert(data_set);
            }
            let before = part.len();
            push_line(&mut part, &entity)?;
            cut.bytes += (part.len() - before) as u64;
            cut.total += 1;
            if part.len() >= PART_BYTES {
                writer.write(std::mem::replace(&mut part, Vec::with_capacity(PART_BYTES))).await?;
            }
        }
        writer.write(part).await?;
        Ok(cut)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_whole_units_and_cover_the_file() {
        let cut = Cut { total: 7, begins: vec![0, 20, 40, 60], bytes: 70, data_sets: BTreeSet::new() };
        let lengths = |units| cut.parts(units).iter().map(|part| part.length).collect::<Vec<_>>();
        assert_eq!(lengths(1), [20, 20, 20, 10]);
        assert_eq!(lengths(3), [60, 10]);
        assert_eq!(lengths(9), [70]);
        assert_eq!(cut.parts(2)[1], BatchPart { batch: 1, offset: 40, length: 30 });
        assert!(Cut { total: 0, begins: vec![], bytes: 0, data_sets: BTreeSet::new() }.parts(1).is_empty());
    }
}
