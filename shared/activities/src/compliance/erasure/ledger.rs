//! Who has been erased: as a keyed hash, so that the ledger tells nobody who it was.

use std::collections::{BTreeMap, BTreeSet};

use contracts::dataset::{Dataset, DatasetType, at};
use contracts::{ActivityError, Timestamp};
use downstream::data::Thing;
use serde_json::Value;
use store::Erasure;
use vault::{DataKey, WrappedKey};

use crate::Context;
use crate::backup::key_failed;
use crate::compliance::dataset;
use crate::files::lost;
use crate::harness::store_failed;
use crate::restore::mark_of;

/// Erasures that are read at once.
const PAGE: u32 = 200;

/// What a tenant's key is for: it opens for nothing else.
fn purpose(tenant_id: &str) -> String {
    format!("erasures/{tenant_id}")
}

/// The key that the tenant's persons are hashed with; a new one if there is none.
pub(super) async fn key_of(context: &Context<'_>) -> Result<DataKey, ActivityError> {
    let tenant_id = context.tenant_id();
    let wrapped = match context.erasures.erasure_key(tenant_id).await.map_err(store_failed)? {
        Some(wrapped) => wrapped,
        None => {
            let (_, wrapped) = context.keys.new_data_key(&purpose(tenant_id)).await.map_err(key_failed)?;
            let wrapped = serde_json::to_string(&wrapped).map_err(|error| lost(&error.to_string()))?;
            context.erasures.keep_erasure_key(tenant_id, &wrapped).await.map_err(store_failed)?
        }
    };
    unwrap(context, tenant_id, &wrapped).await
}

async fn unwrap(context: &Context<'_>, tenant_id: &str, wrapped: &str) -> Result<DataKey, ActivityError> {
    let wrapped: WrappedKey = serde_json::from_str(wrapped).map_err(|_| lost("the key of the erasures"))?;
    context.keys.unwrap(&wrapped, &purpose(tenant_id)).await.map_err(key_failed)
}

/// The ledger of a tenant.
async fn all(context: &Context<'_>, tenant_id: &str) -> Result<Vec<Erasure>, ActivityError> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = context.erasures.erasures(tenant_id, after.as_deref(), PAGE).await.map_err(store_failed)?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.compliance_id.clone());
        all.extend(page);
    }
}

/// The erasures of a person.
pub(super) async fn erasures_of(context: &Context<'_>, subject: &str) -> Result<Vec<Erasure>, ActivityError> {
    let all = all(context, context.tenant_id()).await?;
    Ok(all.into_iter().filter(|erasure| erasure.subject == subject).collect())
}

/// The persons of a tenant who have been erased, for whoever writes back what was kept of them before.
pub(crate) struct Erased {
    key: Option<DataKey>,
    /// The erasures of each person: the things that each has left because of a legal hold.
    subjects: BTreeMap<String, Vec<BTreeSet<String>>>,
    dataset: Dataset,
}

impl Erased {
    /// Nobody: what is read is not written back.
    pub(crate) fn nobody() -> Self {
        Self { key: None, subjects: BTreeMap::new(), dataset: Dataset::default() }
    }

    /// Those whose erasure was begun after this moment: what was backed up then holds them. `but` is the backup itself: an
    /// erasure keeps nobody from what it has put aside against mistakes.
    ///
    /// # Errors
    /// It is not known who has been erased.
    pub(crate) async fn since(
        context: &Context<'_>,
        tenant_id: &str,
        since: Timestamp,
        but: &str,
    ) -> Result<Self, ActivityError> {
        let mut subjects = BTreeMap::<String, Vec<BTreeSet<String>>>::new();
        for erasure in all(context, tenant_id).await? {
            if erasure.began_at >= since && erasure.backup_id.as_deref() != Some(but) {
                subjects.entry(erasure.subject).or_default().push(erasure.held_marks);
            }
        }
        if subjects.is_empty() {
            return Ok(Self::nobody());
        }
        let wrapped = context.erasures.erasure_key(tenant_id).await.map_err(store_failed)?;
        let wrapped = wrapped.ok_or_else(|| lost("the key of the erasures"))?;
        let key = Some(unwrap(context, tenant_id, &wrapped).await?);
        Ok(Self { key, subjects, dataset: Dataset::clone(&*dataset(context)?) })
    }

    /// Whether anybody has been erased.
    pub(crate) fn has_any(&self) -> bool {
        !self.subjects.is_empty()
    }

    /// Whether a thing is one of somebody who has been erased, and was not held.
    pub(crate) fn has(&self, service: &str, entity_type: &str, thing: &Thing) -> bool {
        let Some(key) = &self.key else { return false };
        let is_of = |of: &&DatasetType| of.service == service && of.entity_type == entity_type;
        let of = self.dataset.types.iter().find(is_of);
        let subject = of.and_then(|of| at(&thing.data, of.subject.as_ref()?)).and_then(Value::as_str);
        let erasures = subject.and_then(|subject| self.subjects.get(&key.keyed_hash(subject)));
        let mark = mark_of(service, entity_type, &thing.id);
        erasures.is_some_and(|erasures| erasures.iter().any(|held| !held.contains(&mark)))
    }
}
