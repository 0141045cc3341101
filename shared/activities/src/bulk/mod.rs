//! Bulk operations: what their three activities have in common, which is files.
//!
//! The plan writes all entities into one file, in the order of the input, and which part of it each batch is. A batch reads
//! its part and writes what came of it into a file of its own. The results are put together from these. So nothing but
//! counts passes an engine, whatever the size of the job.

pub(crate) mod batch;
pub(crate) mod cell;
mod dry_run;
mod input;
pub(crate) mod plan;
pub(crate) mod results;

use contracts::ActivityError;
use contracts::bulk_operation::{BatchOptions, BulkOperationType};
use contracts::effect::Effect;
use contracts::step::{StepItem, StepPath};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::{BlobKey, UPLOADS};

use crate::files::{Files, key, lost, read_lines};
use crate::harness::store_failed;

/// What an execution goes on from, if it retries another one.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Origin {
    /// The execution that it retries.
    pub(crate) execution_id: String,
    /// The first one of all these: the keys of entities are derived from it.
    pub(crate) effect_scope: String,
    /// Whether only what failed is done again, and not what was never tried.
    pub(crate) only_failed: bool,
}

/// What all batches of a job need to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) operation_id: String,
    pub(crate) operation: BulkOperationType,
    /// What the operation needs for every entity.
    pub(crate) data: Map<String, Value>,
    pub(crate) options: BatchOptions,
    /// What the keys of entities are derived from.
    pub(crate) effect_scope: String,
    /// Entities.
    pub(crate) total: u64,
    pub(crate) batches: u64,
    pub(crate) batch_size: u64,
    /// The number of the leases under which entities are changed.
    #[serde(default)]
    pub(crate) fence: Option<u64>,
    /// The upload that the entities came from.
    pub(crate) upload_id: Option<String>,
}

/// Which part of the file of entities a batch is; an item of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BatchPart {
    /// From 0.
    pub(crate) batch: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// An entity, as the file of entities has it: one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entity {
    /// Its place in the input, from 0.
    pub(crate) index: u64,
    pub(crate) service: String,
    pub(crate) entity_type: String,
    pub(crate) entity_id: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) operation_data: Map<String, Value>,
    /// Why it cannot be tried, if its row in the input is no entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
    /// That row, as it was in the input.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) row: String,
}

/// What came of an entity: one line of a batch's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) index: u64,
    pub(crate) status: EntityStatus,
    /// What was done, or why it was not.
    pub(crate) code: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) message: String,
    /// Calls made for it.
    pub(crate) attempts: u32,
    /// What the service answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

impl Entity {
    /// One that cannot be tried.
    fn malformed(index: u64, problem: String, row: String) -> Self {
        Self {
            index,
            service: String::new(),
            entity_type: String::new(),
            entity_id: String::new(),
            operation_data: Map::new(),
            problem: Some(problem),
            row,
        }
    }
}

impl Outcome {
    /// Of a row that is no entity.
    fn malformed(entity: &Entity) -> Option<Self> {
        let message = entity.problem.clone()?;
        let (status, code) = (EntityStatus::Failed, "Malformed".to_owned());
        Some(Self { index: entity.index, status, code, message, attempts: 0, data: None })
    }

    fn unprocessed(index: u64) -> Self {
        let (status, code, message) = (EntityStatus::Unprocessed, "Unprocessed".to_owned(), String::new());
        Self { index, status, code, message, attempts: 0, data: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntityStatus {
    Succeeded,
    Failed,
    /// It was not tried.
    Unprocessed,
}

impl Files<'_> {
    fn entities(&self) -> Result<BlobKey, ActivityError> {
        self.key("entities.jsonl")
    }

    /// What came of a batch.
    fn outcomes(&self, batch: u64) -> Result<BlobKey, ActivityError> {
        self.key(&format!("outcomes-{batch}.jsonl"))
    }

    /// The batches.
    async fn read_manifest(&self) -> Result<Vec<BatchPart>, ActivityError> {
        self.read(&self.manifest()?).await?.ok_or_else(|| lost("the manifest"))
    }

    /// The entities of a batch.
    async fn read_entities(&self, part: &BatchPart) -> Result<Vec<Entity>, ActivityError> {
        let lines = self.blobs.get_part(&self.entities()?, part.offset, part.length).await.map_err(store_failed)?;
        let lines = lines.filter(|lines| lines.len() as u64 == part.length).ok_or_else(|| lost("the entities"))?;
        read_lines(&lines, "the entities")
    }

    /// What came of a batch, if it is over.
    async fn read_outcomes(&self, batch: u64) -> Result<Option<Vec<Outcome>>, ActivityError> {
        let lines = self.read_whole(&self.outcomes(batch)?).await?;
        lines.map(|lines| read_lines(&lines, "what came of a batch")).transpose()
    }

    /// Removes what was uploaded. An empty blob takes its place, so that its link stays used.
    async fn empty_upload(&self, upload_id: &str) -> Result<(), ActivityError> {
        self.write(&upload(self.tenant_id, upload_id)?, Vec::new()).await
    }
}

/// Where an upload is.
pub(crate) fn upload(tenant_id: &str, upload_id: &str) -> Result<BlobKey, ActivityError> {
    key(tenant_id, &[UPLOADS, upload_id])
}

/// The key of what is done to an entity: of its place in the input, never of its batch, so that cutting the input anew
/// repeats nothing.
pub(crate) fn entity_key(tenant_id: &str, plan: &Plan, index: u64) -> Result<String, ActivityError> {
    let item = StepItem::new(index.to_string()).map_err(|error| lost(&error.to_string()))?;
    let step = StepPath { name: plan.operation.as_str().to_owned(), item: Some(item) };
    Ok(Effect { tenant_id, scope: &plan.effect_scope, step: &step }.idempotency_key())
}
