//! Files for people: one line for each thing that something is to be said of.

use std::collections::BTreeMap;

use contracts::ActivityError;
use futures::StreamExt as _;
use futures::stream;
use serde::Serialize;
use serde_json::Value;
use store::RESULTS;

use crate::Context;
use crate::files::{key, push_line};
use crate::harness::store_failed;

/// The file of what stays because somebody else has changed it.
pub(super) const LEFT: &str = "left.jsonl";

/// A line.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) service: &'a str,
    pub(super) entity_type: &'a str,
    pub(super) id: &'a str,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// Files in the making: what is to be told is seldom much.
#[derive(Default)]
pub(super) struct Told {
    files: BTreeMap<&'static str, (u64, Vec<u8>)>,
}

/// Bytes of a file; what comes after that is only counted.
const MAX_BYTES: usize = 16 * 1024 * 1024;

impl Told {
    pub(super) fn add(&mut self, file: &'static str, line: &Line<'_>) -> Result<(), ActivityError> {
        let (count, text) = self.files.entry(file).or_default();
        *count += 1;
        if text.len() < MAX_BYTES { push_line(text, line) } else { Ok(()) }
    }

    pub(super) fn count(&self, file: &str) -> u64 {
        self.files.get(file).map_or(0, |(count, _)| *count)
    }

    /// Stores the files; the links to them, by name.
    pub(super) async fn store(self, context: &Context<'_>) -> Result<serde_json::Map<String, Value>, ActivityError> {
        let mut links = serde_json::Map::new();
        for (name, (_, text)) in self.files {
            let place = key(context.tenant_id(), &[RESULTS, context.execution_id(), name])?;
            context.blobs.put(&place, stream::iter([Ok(text.into())]).boxed()).await.map_err(store_failed)?;
            let link = format!("/api/v1/workflows/{}/results/{name}", context.execution_id());
            links.insert(name.to_owned(), link.into());
        }
        Ok(links)
    }
}
