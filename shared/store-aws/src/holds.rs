//! Legal holds: items of a partition of their own for each tenant, sorted by name.
//!
//! Those that are not released are in a second partition once more, so that who erases something reads them, and only them,
//! and finds each that has been placed. There, an item counts them. Those whose time is up leave it when it is full.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{Delete, TransactWriteItem};
use contracts::Timestamp;
use contracts::holds::{Hold, HoldState, Release};
use store::{HoldFilter, HoldPage, Holds, NewAuditRow, Placed, Released, StoreError, placed_again};

use crate::DynamoStore;
use crate::audit::put_audit;
use crate::batch::READS;
use crate::change::{Change, put_new};
use crate::fault;
use crate::item::{Attributes, Item, json, number, text};
use crate::keys;
use crate::transaction::Transacted;

/// Holds that are read for a page at most: a filter that fits few ends the page before it is full.
const MAX_HOLDS_READ: usize = 1_000;

/// Holds that leave the second partition in one transaction; DynamoDB takes 100 writes, of which one counts.
const FORGOTTEN_AT_ONCE: usize = 90;

#[async_trait]
impl Holds for DynamoStore {
    async fn place(&self, hold: &Hold, audit: NewAuditRow) -> Result<Placed, StoreError> {
        let mut has_made_room = false;
        loop {
            let mut count = Change::default();
            let (holds, most) = (count.name("holds"), count.value(number(self.most_holds)));
            count.only_if(format!("attribute_not_exists({holds}) OR {holds} < {most}"));
            count.increase("holds", 1);
            let writes = vec![
                put_new(&self.table, listed(hold)),
                put_new(&self.table, in_force(hold)),
                count.into_write(&self.table, &keys::holds_in_force(&hold.tenant_id), keys::HOLDS_COUNT),
                put_audit(&self.table, &audit),
            ];
            let refused = match self.transact(writes).await? {
                Transacted::Done => return Ok(Placed::New),
                Transacted::Refused(refused) => refused,
            };
            if let Some(Some(item)) = refused.first() {
                return Ok(placed_again(hold, item.json("hold")?));
            }
            if has_made_room || self.forget_expired(&hold.tenant_id, hold.placed_at).await? == 0 {
                return Ok(Placed::Full);
            }
            has_made_room = true;
        }
    }

    async fn hold(&self, tenant_id: &str, hold_id: &str) -> Result<Option<Hold>, StoreError> {
        let item = self.read(&keys::holds(tenant_id), hold_id).await?;
        item.as_ref().map(hold).transpose()
    }

    async fn holds(
        &self,
        tenant_id: &str,
        filter: &HoldFilter,
        now: Timestamp,
        before: Option<&str>,
        limit: u32,
    ) -> Result<HoldPage, StoreError> {
        let limit = limit as usize;
        let (mut holds, mut read, mut before) = (Vec::new(), 0, before.map(str::to_owned));
        loop {
            // One more than is shown tells whether there is a next page.
            let wanted = if filter.is_empty() { limit + 1 - read } else { READS };
            let keys = self.list_of(keys::holds(tenant_id), before.as_deref(), wanted).await?;
            read += keys.len();
            let is_last = keys.len() < wanted;
            before = keys.last().map(|item| item.text("list_sk").map(str::to_owned)).transpose()?;
            holds
                .extend(self.read_holds(tenant_id, keys).await?.into_iter().filter(|(_, hold)| filter.fits(hold, now)));
            if holds.len() > limit {
                holds.truncate(limit);
                let next = holds.last().map(|(place, _)| place.clone());
                return Ok(HoldPage { holds: holds.into_iter().map(|(_, hold)| hold).collect(), next });
            }
            if is_last || read >= MAX_HOLDS_READ {
                let next = before.filter(|_| !is_last);
                return Ok(HoldPage { holds: holds.into_iter().map(|(_, hold)| hold).collect(), next });
            }
        }
    }

    async fn active(&self, tenant_id: &str, now: Timestamp) -> Result<Vec<Hold>, StoreError> {
        let found = self.held(tenant_id).await?;
        let mut active = found.iter().map(hold).collect::<Result<Vec<_>, _>>()?;
        active.retain(|hold| hold.state(now) == HoldState::Active);
        Ok(active)
    }

    async fn release(&self, hold_id: &str, release: &Release, audit: NewAuditRow) -> Result<Released, StoreError> {
        let tenant_id = &audit.tenant_id;
        let Some(mut hold) = self.hold(tenant_id, hold_id).await? else { return Ok(Released::Missing) };
        match hold.state(release.at) {
            HoldState::Released => return Ok(Released::Before(hold)),
            HoldState::Expired => return Ok(Released::Expired(hold)),
            HoldState::Active => {}
        }
        hold.released = Some(release.clone());
        let mut change = Change::default();
        change.set("hold", json(&hold));
        change.set("is_released", aws_sdk_dynamodb::types::AttributeValue::Bool(true));
        change.only_if_present("hold");
        change.only_if_absent("is_released");
        let writes = vec![
            change.into_write(&self.table, &keys::holds(tenant_id), hold_id),
            self.forget(tenant_id, hold_id),
            self.uncount(tenant_id, 1),
            put_audit(&self.table, &audit),
        ];
        match self.transact(writes).await? {
            Transacted::Done => Ok(Released::Now(hold)),
            Transacted::Refused(_) => match self.hold(tenant_id, hold_id).await? {
                Some(hold) if hold.released.is_some() => Ok(Released::Before(hold)),
                // It has left those that hold, by a clock for which its time was up.
                Some(hold) => Ok(Released::Expired(hold)),
                None => Ok(Released::Missing),
            },
        }
    }
}

impl DynamoStore {
    /// Those of a tenant's holds that are not released, by name; the time of some may be up.
    async fn held(&self, tenant_id: &str) -> Result<Vec<Item>, StoreError> {
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let query = self.client().query().table_name(&self.table).consistent_read(true);
            let query = query
                .key_condition_expression("pk = :held AND sk > :count")
                .expression_attribute_values(":held", text(keys::holds_in_force(tenant_id)))
                .expression_attribute_values(":count", text(keys::HOLDS_COUNT))
                .set_exclusive_start_key(from);
            let page = query.send().await.map_err(fault::read)?;
            found.extend(page.items.unwrap_or_default().into_iter().map(Item));
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(found);
            }
        }
    }

    /// Makes room: those whose time is up need not be read any more. Says how many there were.
    async fn forget_expired(&self, tenant_id: &str, now: Timestamp) -> Result<usize, StoreError> {
        let found = self.held(tenant_id).await?;
        let holds = found.iter().map(hold).collect::<Result<Vec<_>, _>>()?;
        let expired: Vec<&Hold> = holds.iter().filter(|hold| hold.state(now) == HoldState::Expired).collect();
        for part in expired.chunks(FORGOTTEN_AT_ONCE) {
            let mut writes: Vec<_> = part.iter().map(|hold| self.forget(tenant_id, &hold.hold_id)).collect();
            writes.push(self.uncount(tenant_id, part.len() as i64));
            // Where somebody else has made room of the same, there is room as well.
            self.transact(writes).await?;
        }
        Ok(expired.len())
    }

    /// Takes a hold away from those that hold; it must be among them.
    fn forget(&self, tenant_id: &str, hold_id: &str) -> TransactWriteItem {
        let delete = Delete::builder()
            .table_name(&self.table)
            .key("pk", text(keys::holds_in_force(tenant_id)))
            .key("sk", text(hold_id))
            .condition_expression("attribute_exists(pk)")
            .build();
        TransactWriteItem::builder().set_delete(delete.ok()).build()
    }

    fn uncount(&self, tenant_id: &str, holds: i64) -> TransactWriteItem {
        let mut count = Change::default();
        count.add("holds", -holds);
        count.into_write(&self.table, &keys::holds_in_force(tenant_id), keys::HOLDS_COUNT)
    }

    /// These holds with their places in the list, newest first.
    async fn read_holds(&self, tenant_id: &str, keys: Vec<Item>) -> Result<Vec<(String, Hold)>, StoreError> {
        let read = self.read_sound(tenant_id, "hold", &keys, hold).await?;
        let mut holds: Vec<(String, Hold)> = read.into_iter().map(|hold| (place_of(&hold), hold)).collect();
        holds.sort_by(|(left, _), (right, _)| right.cmp(left));
        Ok(holds)
    }
}

/// Where a hold stands among its tenant's: a text that sorts by time.
fn place_of(hold: &Hold) -> String {
    keys::list(hold.placed_at, &hold.hold_id)
}

/// The item of a hold.
fn listed(hold: &Hold) -> Attributes {
    let mut item = in_force(hold);
    item.extend([
        ("pk".to_owned(), text(keys::holds(&hold.tenant_id))),
        ("tenant_pk".to_owned(), text(keys::holds(&hold.tenant_id))),
        ("list_sk".to_owned(), text(place_of(hold))),
    ]);
    item
}

/// The item of a hold among those that hold.
fn in_force(hold: &Hold) -> Attributes {
    [("pk", text(keys::holds_in_force(&hold.tenant_id))), ("sk", text(&hold.hold_id)), ("hold", json(hold))]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn hold(item: &Item) -> Result<Hold, StoreError> {
    item.json("hold")
}
