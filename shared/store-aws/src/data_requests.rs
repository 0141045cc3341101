//! The requests of persons: items of a partition of their own for each tenant, sorted by name.
//!
//! `request` is what one was when it was new; `workflow_id`, `ended`, `extension` and `last_notice` are what has changed since
//! then, each an attribute, so that who changes one reads no other.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::TransactWriteItem;
use contracts::data_requests::{DataRequest, Extension, RequestEnd, RequestState};
use contracts::{Timestamp, WorkflowKind};
use store::{
    ClaimedNotice, DataRequests, DueNotice, ExecutionRecord, Extended, KnownRequest, NewAuditRow, NewExecution,
    RequestFilter, RequestPage, RequestParts, StoreError, data_request_of, extending, subject_of,
};

use crate::audit::put_audit;
use crate::change::Change;
use crate::executions::Updated;
use crate::item::{self, Item, inconsistent, json, text};
use crate::keys;
use crate::list::cut_page;
use crate::transaction::Transacted;
use crate::{DynamoStore, fault};

/// How often an extension is tried against others that change the request meanwhile.
const MAX_TRIES: u32 = 10;

/// Sorts before every place in a list: places begin with digits.
const BEFORE_ALL: &str = "0";
const AFTER_ALL: &str = "~";

#[async_trait]
impl DataRequests for DynamoStore {
    async fn request(&self, tenant_id: &str, compliance_id: &str) -> Result<Option<KnownRequest>, StoreError> {
        let Some(item) = self.read(&keys::data_requests(tenant_id), compliance_id).await? else { return Ok(None) };
        Ok(self.known(vec![request(&item)?]).await?.pop())
    }

    async fn requests(
        &self,
        tenant_id: &str,
        filter: &RequestFilter,
        now: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<RequestPage, StoreError> {
        let mut found = self.request_keys(tenant_id, filter, now, after, limit as usize + 1).await?;
        let next = cut_page(&mut found, limit)?;
        let mut requests = self.read_sound(tenant_id, "request", &found, request).await?;
        requests.sort_by_cached_key(place_of);
        Ok(RequestPage { requests: self.known(requests).await?, next })
    }

    async fn extend(
        &self,
        compliance_id: &str,
        extension: &Extension,
        audit: NewAuditRow,
    ) -> Result<Extended, StoreError> {
        let partition = keys::data_requests(&audit.tenant_id);
        for _ in 0..MAX_TRIES {
            let Some(item) = self.read(&partition, compliance_id).await? else { return Ok(Extended::Missing) };
            let before = request(&item)?;
            let extended = extending(&before, extension);
            if extended != Extended::Now {
                return Ok(extended);
            }
            let request = DataRequest { extension: Some(extension.clone()), ..before };
            let mut change = Change::default();
            change.set("extension", json(extension));
            change.set("list_sk", text(place_of(&request)));
            look_again(&mut change, compliance_id, request.next_notice_at());
            change.only_if_absent("extension");
            match item.optional_text("ended") {
                Some(ended) => change.only_if_equal("ended", text(ended)),
                None => change.only_if_absent("ended"),
            }
            let writes =
                vec![change.into_write(&self.table, &partition, compliance_id), put_audit(&self.table, &audit)];
            if let Transacted::Done = self.transact(writes).await? {
                return Ok(Extended::Now);
            }
        }
        Err(StoreError::Unavailable(format!("the request {compliance_id} kept changing")))
    }

    async fn due_notices(&self, now: Timestamp, limit: u32) -> Result<Vec<DueNotice>, StoreError> {
        // What is due at this very moment has a longer key than the moment.
        let found = self.due_items(keys::asked, None, now + Duration::from_micros(1), limit).await?;
        let due = |item: &Item| {
            let tenant_id = keys::parse_data_requests(item.text("pk")?)
                .ok_or_else(|| StoreError::Inconsistent("what is due is no request".to_owned()))?;
            Ok(DueNotice { tenant_id: tenant_id.to_owned(), compliance_id: item.text("sk")?.to_owned() })
        };
        found.iter().map(due).collect()
    }

    async fn claim_notice(
        &self,
        due: &DueNotice,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ClaimedNotice>, StoreError> {
        let DueNotice { tenant_id, compliance_id } = due;
        let partition = keys::data_requests(tenant_id);
        let Some(item) = self.read(&partition, compliance_id).await? else { return Ok(None) };
        // The index may tell of it for a while after it has changed.
        let end = keys::list(now + Duration::from_micros(1), "");
        let Some(look_at) = item.optional_text("due_sk").filter(|look_at| *look_at < end.as_str()) else {
            return Ok(None);
        };
        let request = request(&item)?;
        let notice = request.notice(now);
        let again = if notice.is_some() { Some(until) } else { request.next_notice_at() };
        let mut change = Change::default();
        look_again(&mut change, compliance_id, again);
        change.only_if_equal("due_sk", text(look_at));
        match self.update_item(&partition, compliance_id, change).await? {
            Updated::Done(_) => Ok(notice.map(|notice| ClaimedNotice { request, notice, until })),
            Updated::Refused(_) => Ok(None),
        }
    }

    async fn note_notice(&self, claimed: &ClaimedNotice) -> Result<(), StoreError> {
        let ClaimedNotice { request, notice, until } = claimed;
        let told = DataRequest { last_notice: Some(*notice), ..request.clone() };
        let mut change = Change::default();
        change.set("last_notice", json(notice));
        look_again(&mut change, &request.compliance_id, told.next_notice_at());
        change.only_if_equal("due_sk", text(keys::list(*until, &request.compliance_id)));
        let partition = keys::data_requests(&request.tenant_id);
        self.update_item(&partition, &request.compliance_id, change).await.map(drop)
    }
}

impl DynamoStore {
    /// The keys of the tenant's requests that fit, those due first before others.
    async fn request_keys(
        &self,
        tenant_id: &str,
        filter: &RequestFilter,
        now: Timestamp,
        after: Option<&str>,
        wanted: usize,
    ) -> Result<Vec<Item>, StoreError> {
        // Keys go on behind their moment: those of this very moment are before the next one.
        let behind_now = keys::moment(now + Duration::from_micros(1));
        let (index, attribute, partition) = match filter.state {
            None => ("by_tenant", "tenant_pk", keys::data_requests(tenant_id)),
            Some(RequestState::Open | RequestState::Overdue) => {
                ("by_status", "status_pk", keys::data_requests_in(tenant_id, RequestState::Open))
            }
            Some(state) => ("by_status", "status_pk", keys::data_requests_in(tenant_id, state)),
        };
        // No id has anything before `#` in it: this is behind the key and before the next one.
        let after = after.map_or_else(|| BEFORE_ALL.to_owned(), |after| format!("{after}#"));
        let before = filter.due_before.map_or_else(|| AFTER_ALL.to_owned(), keys::moment);
        let (after, before) = match filter.state {
            Some(RequestState::Open) => (after.max(behind_now), before),
            Some(RequestState::Overdue) => (after, before.min(behind_now)),
            _ => (after, before),
        };
        let mut found = Vec::new();
        if after >= before {
            return Ok(found);
        }
        let mut from = None::<HashMap<_, _>>;
        loop {
            let query = self.client().query().table_name(&self.table).index_name(index);
            let query = query
                .key_condition_expression(format!("{attribute} = :partition AND list_sk BETWEEN :after AND :before"))
                .expression_attribute_values(":partition", text(&partition))
                .expression_attribute_values(":after", text(&after))
                .expression_attribute_values(":before", text(&before))
                .limit(i32::try_from(wanted - found.len()).unwrap_or(i32::MAX))
                .set_exclusive_start_key(from);
            let page = query.send().await.map_err(fault::read)?;
            found.extend(page.items.unwrap_or_default().into_iter().map(Item));
            from = page.last_evaluated_key;
            if from.is_none() || found.len() >= wanted {
                return Ok(found);
            }
        }
    }

    /// These with whom they are about, as long as the requests of their executions are kept.
    async fn known(&self, requests: Vec<DataRequest>) -> Result<Vec<KnownRequest>, StoreError> {
        let partitions = requests.iter().map(|request| keys::execution(&request.tenant_id, &request.workflow_id));
        let executions = self.batch(partitions.collect()).await?;
        let subject = |execution: &Item| {
            let (_, id) = keys::parse_execution(execution.optional_text("pk")?)?;
            Some((id.to_owned(), subject_of(&item::request(execution).ok()?)?))
        };
        let mut subjects: HashMap<String, String> = executions.iter().filter_map(subject).collect();
        let known = |request: DataRequest| {
            let subject_user_id = subjects.remove(&request.workflow_id);
            KnownRequest { request, subject_user_id }
        };
        Ok(requests.into_iter().map(known).collect())
    }

    /// The write by which a start or a retry remembers the request that it answers, if it answers one. What was extended stays
    /// so when it is tried again.
    pub(crate) fn remember_request(&self, new: &NewExecution) -> Option<TransactWriteItem> {
        let request = data_request_of(new)?;
        let id = request.compliance_id.as_str();
        let mut change = Change::default();
        change.set("workflow_id", text(&request.workflow_id));
        change.set("status_pk", text(keys::data_requests_in(&new.tenant_id, RequestState::Open)));
        change.remove("ended");
        let new_parts = [
            ("tenant_pk", text(keys::data_requests(&new.tenant_id))),
            ("list_sk", text(place_of(&request))),
            ("request", json(&request)),
        ];
        match &new.retry_of {
            Some(_) => {
                for (name, value) in new_parts {
                    let (name, value) = (change.name(name), change.value(value));
                    change.set_raw(format!("{name} = if_not_exists({name}, {value})"));
                }
                // When the next notice is, is seen when it is looked at.
                look_again(&mut change, id, Some(new.started_at));
            }
            // A name stands for one request, also when its execution is archived and its key gone.
            None => {
                change.only_if_absent("workflow_id");
                new_parts.into_iter().for_each(|(name, value)| change.set(name, value));
                look_again(&mut change, id, request.next_notice_at());
            }
        }
        Some(change.into_write(&self.table, &keys::data_requests(&new.tenant_id), id))
    }

    /// The write by which an end is remembered of the request that the execution answers, if it answers one.
    pub(crate) async fn end_request(
        &self,
        record: &ExecutionRecord,
        end: &RequestEnd,
    ) -> Result<Option<TransactWriteItem>, StoreError> {
        let input = &record.input;
        let kind = WorkflowKind::of_execution(&record.id).unwrap_or(record.kind);
        let Some(request) = DataRequest::of_execution(&record.tenant_id, &record.id, kind, input, record.started_at)
        else {
            return Ok(None);
        };
        let partition = keys::data_requests(&record.tenant_id);
        // One from before requests were remembered has none.
        let remembered = self.read(&partition, &request.compliance_id).await?;
        if remembered.is_none_or(|item| item.optional_text("workflow_id") != Some(record.id.as_str())) {
            return Ok(None);
        }
        let mut change = Change::default();
        change.set("status_pk", text(keys::data_requests_in(&record.tenant_id, end.state())));
        change.set("ended", json(end));
        // When the next notice is, is seen when it is looked at.
        look_again(&mut change, &request.compliance_id, (!end.is_settled()).then_some(end.at));
        Ok(Some(change.into_write(&self.table, &partition, &request.compliance_id)))
    }
}

/// Lets a request be looked at at this moment, or not any more.
fn look_again(change: &mut Change, compliance_id: &str, at: Option<Timestamp>) {
    match at {
        Some(at) => {
            change.set("due_pk", text(keys::asked_shard(compliance_id)));
            change.set("due_sk", text(keys::list(at, compliance_id)));
        }
        None => ["due_pk", "due_sk"].into_iter().for_each(|name| change.remove(name)),
    }
}

/// Where a request stands among its tenant's: a text that sorts by when it is due.
fn place_of(request: &DataRequest) -> String {
    keys::list(request.due(), &request.compliance_id)
}

fn request(item: &Item) -> Result<DataRequest, StoreError> {
    let parts = RequestParts {
        workflow_id: item.text("workflow_id").map_err(inconsistent)?.to_owned(),
        ended: item.optional_json("ended")?,
        extension: item.optional_json("extension")?,
        last_notice: item.optional_json("last_notice")?,
    };
    Ok(parts.of(item.json("request")?))
}
