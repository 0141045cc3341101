//! The audit log: items of a partition of their own for each tenant, sorted by time.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use contracts::WorkflowKind;
use contracts::ids::new_audit_id;
use store::{Audit, AuditFilter, AuditPage, AuditRow, NewAuditRow, StoreError};

use crate::DynamoStore;
use crate::change::put_new;
use crate::fault::{self, Tries};
use crate::item::{Attributes, Item, inconsistent, json, moment, text};
use crate::keys;

/// Rows that are read for a page at most: a filter that fits few rows ends the page before it is full.
const MAX_ROWS_READ: usize = 1_000;

/// Sort before and after every row: keys are digits first.
const BEFORE_ALL: &str = "0";
const AFTER_ALL: &str = "~";

#[async_trait]
impl Audit for DynamoStore {
    async fn record(&self, row: NewAuditRow) -> Result<(), StoreError> {
        let tries = Tries::default();
        let put = self.client().put_item().table_name(&self.table).set_item(Some(item(&row)));
        let sent = put.customize().interceptor(tries.clone()).send().await;
        // A repetition of the client's puts the same item again.
        sent.map(drop).map_err(|error| tries.write(error))
    }

    async fn rows(
        &self,
        tenant_id: &str,
        filter: &AuditFilter,
        before: Option<&str>,
        limit: u32,
    ) -> Result<AuditPage, StoreError> {
        let first = filter.from.map_or_else(|| BEFORE_ALL.to_owned(), keys::moment);
        // Keys go on after their moment: none of this very moment comes before it.
        let last = filter.to.map_or_else(|| AFTER_ALL.to_owned(), keys::moment);
        if first >= last {
            return Ok(AuditPage { rows: Vec::new(), next: None });
        }
        let log = keys::audit(tenant_id);
        let texts = texts(filter);
        let conditions: Vec<String> = texts.iter().map(|(name, _)| format!("#{name} = :{name}")).collect();
        let is_filtered = !texts.is_empty();
        let key = |sk: &str| HashMap::from([("pk".to_owned(), text(&log)), ("sk".to_owned(), text(sk))]);
        let (mut rows, mut read, mut from) = (Vec::new(), 0, before.map(key));
        loop {
            // One more than is shown tells whether there is a next page.
            let most = if is_filtered { MAX_ROWS_READ - read } else { limit as usize + 1 - rows.len() };
            let mut query = self
                .client()
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .scan_index_forward(false)
                .set_exclusive_start_key(from)
                .key_condition_expression("pk = :log AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":log", text(&log))
                .expression_attribute_values(":first", text(&first))
                .expression_attribute_values(":last", text(&last))
                .set_filter_expression(is_filtered.then(|| conditions.join(" AND ")))
                .limit(i32::try_from(most).unwrap_or(i32::MAX));
            for (name, value) in &texts {
                query = query.expression_attribute_names(format!("#{name}"), *name);
                query = query.expression_attribute_values(format!(":{name}"), text(*value));
            }
            let page = query.send().await.map_err(fault::read)?;
            read += usize::try_from(page.scanned_count).unwrap_or_default();
            rows.extend(page.items.unwrap_or_default().into_iter().map(Item));
            from = page.last_evaluated_key;
            if rows.len() > limit as usize || from.is_none() || read >= MAX_ROWS_READ {
                break;
            }
        }
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = if more { rows.last().cloned() } else { from.map(Item) };
        let next = next.map(|last| last.text("sk").map(str::to_owned)).transpose()?;
        // One that is damaged keeps nobody from the others.
        let read = rows.iter().map(audit_row);
        let read =
            read.map(|row| row.inspect_err(|error| tracing::error!(tenant_id, %error, "an audit row is left out")));
        Ok(AuditPage { rows: read.filter_map(Result::ok).collect(), next })
    }
}

/// The attributes that are to hold these texts.
fn texts(filter: &AuditFilter) -> Vec<(&'static str, &str)> {
    let attributes = [
        ("action", filter.action.map(|action| action.as_str())),
        ("outcome", filter.outcome.map(|outcome| outcome.as_str())),
        ("actor", filter.actor.as_deref()),
        ("workflow_id", filter.workflow_id.as_deref()),
    ];
    attributes.into_iter().filter_map(|(attribute, value)| Some((attribute, value?))).collect()
}

/// The write that adds a row to a transaction.
pub(crate) fn put_audit(table: &str, row: &NewAuditRow) -> TransactWriteItem {
    put_new(table, item(row))
}

fn item(row: &NewAuditRow) -> Attributes {
    let id = new_audit_id(row.at);
    let mut item: Attributes = [
        ("pk", text(keys::audit(&row.tenant_id))),
        ("sk", text(keys::list(row.at, &id))),
        ("id", text(id)),
        ("tenant_id", text(&row.tenant_id)),
        ("at", moment(row.at)),
        ("is_admin", AttributeValue::Bool(row.is_admin)),
        ("action", text(row.action.as_str())),
        ("outcome", text(row.outcome.as_str())),
        ("request_id", text(&row.request_id)),
        ("details", json(&row.details)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let optional = [
        ("actor", row.actor.as_deref()),
        ("workflow_id", row.workflow_id.as_deref()),
        ("workflow_kind", row.workflow_kind.map(WorkflowKind::as_str)),
        ("reason", row.reason.as_deref()),
    ];
    item.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value?)))));
    item
}

fn audit_row(item: &Item) -> Result<AuditRow, StoreError> {
    let optional = |name| item.optional_text(name).map(str::to_owned);
    let kind = item.optional_text("workflow_kind").map(|kind| kind.parse().map_err(inconsistent));
    Ok(AuditRow {
        id: item.text("id")?.to_owned(),
        row: NewAuditRow {
            tenant_id: item.text("tenant_id")?.to_owned(),
            at: item.moment("at")?,
            actor: optional("actor"),
            is_admin: item.flag("is_admin"),
            action: item.text("action")?.parse().map_err(inconsistent)?,
            outcome: item.text("outcome")?.parse().map_err(inconsistent)?,
            workflow_id: optional("workflow_id"),
            workflow_kind: kind.transpose()?,
            request_id: item.text("request_id")?.to_owned(),
            reason: optional("reason"),
            details: item.json("details")?,
        },
    })
}
