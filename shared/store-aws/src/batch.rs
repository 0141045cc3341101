//! Batches, of which DynamoDB does a part when it is short of capacity.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{KeysAndAttributes, PutRequest, WriteRequest};
use store::StoreError;

use crate::DynamoStore;
use crate::fault::{self, Tries};
use crate::item::{Attributes, Item, text};
use crate::keys::ALONE;
use crate::patience::Patience;

/// What DynamoDB takes in one batch of reads, and of writes.
pub(crate) const READS: usize = 100;
pub(crate) const WRITES: usize = 25;

impl DynamoStore {
    /// The items that are alone in these partitions, as far as there are any, in any order.
    pub(crate) async fn batch(&self, partitions: Vec<String>) -> Result<Vec<Item>, StoreError> {
        self.batch_of(partitions.into_iter().map(|pk| (pk, ALONE.to_owned())).collect()).await
    }

    /// The items with these keys, as far as there are any, in any order.
    pub(crate) async fn batch_of(&self, keys: Vec<(String, String)>) -> Result<Vec<Item>, StoreError> {
        let key =
            |(pk, sk): (String, String)| HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))]);
        let mut wanted: Vec<Attributes> = keys.into_iter().map(key).collect();
        let (mut found, mut patience) = (Vec::new(), Patience::with_parts());
        while !wanted.is_empty() {
            let rest = wanted.split_off(wanted.len().min(READS));
            let request = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true);
            let request = request.build().map_err(|error| StoreError::Inconsistent(error.to_string()))?;
            let sent = self.client().batch_get_item().request_items(&self.table, request).send().await;
            let answer = sent.map_err(fault::read)?;
            let items = answer.responses.unwrap_or_default().remove(&self.table).unwrap_or_default();
            found.extend(items.into_iter().map(Item));
            let unprocessed = answer.unprocessed_keys.unwrap_or_default().remove(&self.table);
            wanted = unprocessed.map(|unprocessed| unprocessed.keys).unwrap_or_default();
            if !wanted.is_empty() && !self.wait(&mut patience).await {
                return Err(short());
            }
            wanted.extend(rest);
        }
        Ok(found)
    }

    /// Writes items in place of those with their keys.
    pub(crate) async fn replace(&self, items: &[Attributes]) -> Result<(), StoreError> {
        let put = |item: &Attributes| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build();
            WriteRequest::builder().set_put_request(put.ok()).build()
        };
        let mut writes: Vec<WriteRequest> = items.iter().map(put).collect();
        let (tries, mut patience) = (Tries::default(), Patience::with_parts());
        loop {
            let request = self.client().batch_write_item().request_items(&self.table, writes);
            let sent = request.customize().interceptor(tries.clone()).send().await;
            let answer = sent.map_err(|error| tries.write(error))?;
            writes = match answer.unprocessed_items.unwrap_or_default().remove(&self.table) {
                Some(unprocessed) if !unprocessed.is_empty() => unprocessed,
                Some(_) | None => return Ok(()),
            };
            if !self.wait(&mut patience).await {
                return Err(tries.failed(short()));
            }
        }
    }
}

fn short() -> StoreError {
    StoreError::Unavailable("DynamoDB is short of capacity".to_owned())
}
