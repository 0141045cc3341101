//! The ledger of erasures, each an item; and what items of executions forget.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;
use store::{Erasure, Erasures, Forgotten, Named, NamedPage, Naming, StoreError, StoredRequest, leaves_files};

use crate::DynamoStore;
use crate::change::Change;
use crate::executions::Updated;
use crate::fault::{self, Tries};
use crate::item::{Attributes, Item, json, record, text};
use crate::keys::{self, ALONE};

#[async_trait]
impl Erasures for DynamoStore {
    async fn erasure_key(&self, tenant_id: &str) -> Result<Option<String>, StoreError> {
        let item = self.read(&keys::erasures(tenant_id), keys::ERASURE_KEY).await?;
        item.map(|item| item.text("wrapped").map(str::to_owned)).transpose()
    }

    async fn keep_erasure_key(&self, tenant_id: &str, wrapped: &str) -> Result<String, StoreError> {
        let mut change = Change::default();
        change.set("wrapped", text(wrapped));
        change.only_if_absent("wrapped");
        match self.update_item(&keys::erasures(tenant_id), keys::ERASURE_KEY, change).await? {
            Updated::Done(_) => Ok(wrapped.to_owned()),
            // Somebody was faster, or the client repeated what had no answer.
            Updated::Refused(item) => item.unwrap_or_default().text("wrapped").map(str::to_owned),
        }
    }

    async fn note_erasure(&self, erasure: &Erasure) -> Result<(), StoreError> {
        let mut change = Change::default();
        change.set("erasure", json(erasure));
        self.update_item(&keys::erasures(&erasure.tenant_id), &erasure.compliance_id, change).await.map(drop)
    }

    async fn erasure(&self, tenant_id: &str, compliance_id: &str) -> Result<Option<Erasure>, StoreError> {
        let item = self.read(&keys::erasures(tenant_id), compliance_id).await?;
        item.map(|item| item.json("erasure")).transpose()
    }

    async fn erasures(&self, tenant_id: &str, after: Option<&str>, limit: u32) -> Result<Vec<Erasure>, StoreError> {
        let query = self.client().query().table_name(&self.table).consistent_read(true);
        let query = query.key_condition_expression("pk = :pk AND sk > :after");
        let query = query.expression_attribute_values(":pk", text(keys::erasures(tenant_id)));
        let query = query.expression_attribute_values(":after", text(after.unwrap_or(keys::ERASURE_KEY)));
        let query = query.limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let found = query.send().await.map_err(fault::read)?;
        // A restore must leave out all of them: one that cannot be read is an error.
        found.items.unwrap_or_default().into_iter().map(|item| Item(item).json("erasure")).collect()
    }

    async fn naming(
        &self,
        tenant_id: &str,
        person: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<NamedPage, StoreError> {
        let keys = self.list_of(tenant_id.to_owned(), after, limit as usize).await?;
        let next = keys.last().filter(|_| keys.len() == limit as usize);
        let next = next.map(|item| item.text("list_sk").map(str::to_owned)).transpose()?;
        let partitions = keys.iter().map(|item| item.text("pk").map(str::to_owned)).collect::<Result<_, _>>()?;
        let person = NamingItems::of(tenant_id, person);
        // Whoever is erased must be found everywhere: one that cannot be read is an error.
        let named = self.batch(partitions).await?.into_iter().map(|item| named(&item, &person));
        Ok(NamedPage { named: named.filter_map(Result::transpose).collect::<Result<_, _>>()?, next })
    }

    async fn forget(&self, tenant_id: &str, id: &str, who: Forgotten<'_>) -> Result<(), StoreError> {
        let (person, pseudonym) = (NamingItems::of(tenant_id, who.person), NamingItems::of(tenant_id, who.pseudonym));
        let partition = keys::execution(tenant_id, id);
        let mut from = ALONE.to_owned();
        loop {
            let items = self.partition(tenant_id, id, &from, EVENTS_AT_ONCE).await?;
            for item in &items {
                let sk = item.text("sk")?;
                let mut change = Change::default();
                let others = item.0.iter().filter(|(name, _)| !["pk", "sk", "request"].contains(&name.as_str()));
                for (name, value) in others {
                    if let Some(renamed) = person.renamed(value, &pseudonym) {
                        change.set(name, renamed);
                    }
                }
                if sk == ALONE {
                    // Whatever it is made of: a part of a request may be personal that does not name the person.
                    change.set("request", json(&StoredRequest::Inline(Value::Null)));
                    change.increase("version", 1);
                    if let Some(key) = item.optional_text("idempotency_pk").filter(|_| !who.keeps_key) {
                        let delete = self.client().delete_item().table_name(&self.table);
                        let delete = delete.key("pk", text(key)).key("sk", text(ALONE));
                        let tries = Tries::default();
                        let sent = delete.customize().interceptor(tries.clone()).send().await;
                        sent.map_err(|error| tries.write(error))?;
                        change.remove("idempotency_pk");
                    }
                }
                if !change.is_empty() {
                    self.update_item(&partition, sk, change).await?;
                }
            }
            match items.last() {
                // Behind the last one.
                Some(last) if items.len() == EVENTS_AT_ONCE as usize => from = format!("{}\u{1}", last.text("sk")?),
                _ => return Ok(()),
            }
        }
    }

    fn recoverable_days(&self) -> u32 {
        RECOVERABLE_DAYS
    }
}

/// Items of an execution that are looked at at once.
const EVENTS_AT_ONCE: u32 = 100;
/// How long the table can be brought back to an earlier moment (point-in-time recovery).
const RECOVERABLE_DAYS: u32 = 35;

/// The ways in which items name a person.
struct NamingItems {
    id: String,
    /// In JSON.
    text: Naming,
    /// The partition of the index by user.
    partition: String,
}

impl NamingItems {
    fn of(tenant_id: &str, id: &str) -> Self {
        Self { id: id.to_owned(), text: Naming::of(id), partition: keys::of_user(tenant_id, id) }
    }

    /// The value with somebody else's name in the place of this one; none if it does not name this one.
    fn renamed(&self, value: &AttributeValue, other: &Self) -> Option<AttributeValue> {
        match value {
            AttributeValue::S(found) if *found == self.id => Some(text(&other.id)),
            AttributeValue::S(found) if *found == self.partition => Some(text(&other.partition)),
            AttributeValue::S(found) => {
                let renamed = self.text.replaced(found, &other.text);
                (renamed != *found).then(|| text(renamed))
            }
            AttributeValue::M(members) => {
                let renamed =
                    members.iter().filter_map(|(name, value)| Some((name.clone(), self.renamed(value, other)?)));
                let renamed: Attributes = renamed.collect();
                let all = members.iter().map(|(name, value)| (name.clone(), value.clone()));
                (!renamed.is_empty()).then(|| AttributeValue::M(all.chain(renamed).collect()))
            }
            _ => None,
        }
    }
}

fn named(item: &Item, person: &NamingItems) -> Result<Option<Named>, StoreError> {
    let nobody = NamingItems::of("", "");
    let names = |value: &AttributeValue| {
        person.renamed(value, &nobody).is_some() || value.as_s().is_ok_and(|text| person.text.is_in(text))
    };
    let is_sure = item.0.values().any(names);
    let request: StoredRequest = item.json("request")?;
    let record = record(item);
    if !is_sure && matches!(request, StoredRequest::Inline(_)) && !leaves_files(record.kind) {
        return Ok(None);
    }
    Ok(Some(Named { id: record.id, kind: record.kind, has_ended: record.ended_at.is_some(), request, is_sure }))
}
