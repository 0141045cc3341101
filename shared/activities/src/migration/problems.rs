//! Files for people: one line for each thing that something is to be said of.

use std::collections::BTreeMap;

use contracts::ActivityError;
use futures::StreamExt as _;
use futures::stream;
use serde::Serialize;
use serde_json::{Map, Value};

use super::CHANGED_SINCE;
use crate::Context;
use crate::files::push_line;
use crate::harness::store_failed;
use crate::things::Left;

/// The file of what the target would not take.
pub(super) const PROBLEMS: &str = "problems.jsonl";
/// The file of what stays because somebody else has changed it.
pub(super) const LEFT: &str = "left.jsonl";
/// The file of what failed.
pub(super) const FAILED: &str = "failed.jsonl";
/// The file of what has changed in the source after it was copied for the last time.
pub(super) const STILL_CHANGING: &str = "still_changing.jsonl";
/// The file of copies of what is not there any more.
pub(super) const ONLY_COPIES: &str = "only_copies.jsonl";

/// A line.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) service: &'a str,
    pub(super) entity_type: &'a str,
    /// Empty where it is not known.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) id: &'a str,
    pub(super) code: &'a str,
    pub(super) message: &'a str,
}

/// Files in the making: what is to be told is seldom much.
#[derive(Default)]
pub(super) struct Told {
    files: BTreeMap<&'static str, File>,
}

#[derive(Default)]
struct File {
    /// Lines by code.
    codes: BTreeMap<String, u64>,
    text: Vec<u8>,
}

/// Bytes of a file; what comes after that is only counted.
const MAX_BYTES: usize = 16 * 1024 * 1024;

impl Told {
    pub(super) fn add(&mut self, file: &'static str, line: &Line<'_>) -> Result<(), ActivityError> {
        let File { codes, text } = self.files.entry(file).or_default();
        *codes.entry(line.code.to_owned()).or_default() += 1;
        if text.len() < MAX_BYTES { push_line(text, line) } else { Ok(()) }
    }

    /// Tells what stays.
    pub(super) fn add_left(&mut self, left: &Left) -> Result<(), ActivityError> {
        for name in left.names() {
            let (service, rest) = name.split_once('/').unwrap_or((name, ""));
            let (entity_type, id) = rest.split_once('/').unwrap_or((rest, ""));
            let message = "somebody else has changed or deleted it since: it is left as it is";
            self.add(LEFT, &Line { service, entity_type, id, code: CHANGED_SINCE, message })?;
        }
        Ok(())
    }

    pub(super) fn count(&self, file: &str) -> u64 {
        self.codes(file).values().sum()
    }

    /// How many lines have which code.
    pub(super) fn codes(&self, file: &str) -> BTreeMap<String, u64> {
        self.files.get(file).map(|file| file.codes.clone()).unwrap_or_default()
    }

    /// Stores the files; the links to them, by name.
    pub(super) async fn store(self, context: &Context<'_>) -> Result<Map<String, Value>, ActivityError> {
        let mut links = Map::new();
        for (name, File { text, .. }) in self.files {
            context
                .blobs
                .put(&context.result_key(name)?, stream::iter([Ok(text.into())]).boxed())
                .await
                .map_err(store_failed)?;
            links.insert(name.to_owned(), context.result_link(name).into());
        }
        Ok(links)
    }

    /// Stores the files; the links to them and to those that an earlier step of the execution has stored.
    pub(super) async fn store_beside(self, context: &Context<'_>) -> Result<Map<String, Value>, ActivityError> {
        let mut links = self.store(context).await?;
        for name in [FAILED, ONLY_COPIES, STILL_CHANGING] {
            if context.blobs.size(&context.result_key(name)?).await.map_err(store_failed)?.is_some() {
                links.insert(name.to_owned(), context.result_link(name).into());
            }
        }
        Ok(links)
    }
}
