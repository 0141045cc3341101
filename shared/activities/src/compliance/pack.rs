//! Makes the package of an export from everything that was read.

use std::collections::BTreeSet;

use contracts::ActivityError;
use contracts::dataset::{Category, DatasetType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use store::BlobKey;

use super::gathered::{Read, sets, summaries};
use super::lines::{ByteLine, LogLine, ThingLine};
use super::package::manifest::{MANIFEST, Manifest, NotRead, SourceEntry};
use super::package::{Package, html, names, table};
use super::sealed::Parts;
use super::{DataSet, Packed, Plan, SetSummary, Source};
use crate::Context;
use crate::files::{BlobWriter, lost, write_blob};
use crate::harness::store_failed;

/// The file of what came of packing.
pub(super) const PACKED: &str = "packed.json";
/// From this size of its lines on a file of things needs the zip format's form for large ones.
const LARGE_BYTES: u64 = 1024 * 1024 * 1024;

/// Packs an export: answers `{records}`.
pub(crate) async fn pack(context: &Context<'_>) -> Result<Value, ActivityError> {
    let files = context.files();
    let plan: Plan = files.read_plan().await?;
    let (sets, not_read) = sets(context, &plan).await?;
    let parts = Parts::of(context, &plan).await?;
    let place = place(context, &plan)?;
    let packing = Packing { context, plan: &plan, parts: &parts, sets: &sets, not_read: &not_read };
    let (bytes, sha256) = write_blob(context.blobs, &place, async |blob| packing.write(blob).await).await?;
    let stored_encrypted = context.blobs.encryption(&place).await.map_err(store_failed)?.map(str::to_owned);
    let sets: Vec<SetSummary> = summaries(&sets, &not_read);
    let records: u64 = sets.iter().map(|set| set.records + set.mentions).sum();
    files.write_json(&files.key(PACKED)?, &Packed { bytes, sha256, stored_encrypted, sets }).await?;
    Ok(json!({ "records": records }))
}

/// Where the package is.
pub(super) fn place(context: &Context<'_>, plan: &Plan) -> Result<BlobKey, ActivityError> {
    context.result_key(plan.package_name())
}

struct Packing<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    parts: &'a Parts<'a>,
    sets: &'a [Read<'a>],
    not_read: &'a [NotRead],
}

impl Packing<'_> {
    /// Writes the package; its size, and its SHA-256.
    async fn write(&self, blob: &mut BlobWriter) -> Result<(u64, String), ActivityError> {
        let mut package = Package::new(blob, self.plan.encrypt_to.as_deref())?;
        let mut sources = Vec::new();
        for read in self.sets {
            let first = package.entries.len();
            match &read.set.source {
                Source::Logs { .. } => self.write_table::<LogLine>(&mut package, read, "logs").await?,
                Source::Things(_) => self.write_table::<ThingLine>(&mut package, read, "data").await?,
                Source::Bytes(_) => self.write_files(&mut package, read).await?,
            }
            let written = package.entries[first..].iter();
            let is_bytes = matches!(read.set.source, Source::Bytes(_));
            let files = written.filter(|_| !is_bytes).map(|entry| entry.path.clone()).collect();
            sources.push(self.source(read, files));
        }
        self.write_index(&mut package, &sources).await?;
        let manifest =
            Manifest::new(self.context.tenant_id(), self.plan, &sources, self.not_read, &package.entries).text()?;
        package.add(MANIFEST, &manifest).await?;
        package.finish().await
    }

    fn source(&self, read: &Read<'_>, files: Vec<String>) -> SourceEntry {
        SourceEntry {
            service: read.set.service.clone(),
            entity_type: read.set.name().to_owned(),
            categories: self.categories(read.set),
            records: read.state.own,
            mentions: read.state.mentions,
            files,
            fields_not_exported: read.state.unlisted.iter().cloned().collect(),
        }
    }

    /// What there is of it, as far as it was asked for.
    fn categories(&self, set: &DataSet) -> Vec<Category> {
        let categories: BTreeSet<Category> = match &set.source {
            Source::Logs { .. } => BTreeSet::new(),
            Source::Things(of) => of.fields.values().map(|field| field.category).collect(),
            Source::Bytes(of) => of.bytes.into_iter().collect(),
        };
        categories.into_iter().filter(|category| category.is_asked_for(&self.plan.categories)).collect()
    }

    fn columns(&self, set: &DataSet) -> Vec<String> {
        let of_type = |of: &DatasetType| table::columns_of(of, &self.plan.categories);
        match &set.source {
            Source::Logs { .. } => table::log_columns(),
            Source::Things(of) | Source::Bytes(of) => of_type(of),
        }
    }

    /// Writes lines as JSON, and again as CSV.
    async fn write_table<T: table::Row + DeserializeOwned + Serialize>(
        &self,
        package: &mut Package<'_>,
        read: &Read<'_>,
        folder: &str,
    ) -> Result<(), ActivityError> {
        let name = match &read.set.source {
            Source::Logs { .. } => format!("{folder}/{}", read.set.service),
            _ => format!("{folder}/{}.{}", read.set.service, read.set.name()),
        };
        let is_large = read.state.bytes >= LARGE_BYTES;
        let records = read.state.own + read.state.mentions;
        package.begin(format!("{name}.json"), is_large)?;
        let (mut lines, mut is_empty) = (self.parts.lines(read.number, &read.state), true);
        while let Some(line) = lines.next::<T>().await? {
            package.write(&table::json(&line, is_empty)?).await?;
            is_empty = false;
        }
        package.write(table::json_end(is_empty)).await?;
        package.end(Some(records), None);
        package.begin(format!("{name}.csv"), is_large)?;
        let columns = self.columns(read.set);
        package.write(&table::head(&columns)).await?;
        let mut lines = self.parts.lines(read.number, &read.state);
        while let Some(line) = lines.next::<T>().await? {
            package.write(&table::csv(&line, &columns)).await?;
        }
        package.end(Some(records), None);
        Ok(())
    }

    /// Writes the bytes of files, each as a file of its own.
    async fn write_files(&self, package: &mut Package<'_>, read: &Read<'_>) -> Result<(), ActivityError> {
        let mut lines = self.parts.lines(read.number, &read.state);
        let (mut number, mut file) = (0, None);
        while let Some(line) = lines.next::<ByteLine>().await? {
            match line {
                ByteLine::File { id, name } => {
                    number += 1;
                    package.begin(names::path_of(number, &name), read.state.large.contains(&id))?;
                    file = Some(id);
                }
                ByteLine::Piece(piece) => package.write(&ByteLine::decoded(&piece)?).await?,
                ByteLine::End { size, sha256 } => {
                    let entry = package.end(None, file.take());
                    let is_whole = entry.is_some_and(|entry| (entry.bytes, &entry.sha256) == (size, &sha256));
                    is_whole.then_some(()).ok_or_else(|| lost("the bytes of a file"))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the page that people open.
    async fn write_index(&self, package: &mut Package<'_>, sources: &[SourceEntry]) -> Result<(), ActivityError> {
        let categories: Vec<&str> = self.plan.categories.iter().map(|category| category.as_str()).collect();
        let facts = [
            ("Person", self.plan.subject.as_str()),
            ("Organisation", self.context.tenant_id()),
            ("Request", &self.plan.compliance_id),
            ("Legal basis", self.plan.legal_basis.as_deref().unwrap_or("not given")),
            ("Categories", &categories.join(", ")),
        ];
        package.begin(html::INDEX.to_owned(), false)?;
        package.write(html::beginning(&facts, sources, self.not_read).as_bytes()).await?;
        for (read, source) in self.sets.iter().zip(sources).filter(|(_, source)| source.records + source.mentions > 0) {
            package.write(html::heading(source).as_bytes()).await?;
            match &read.set.source {
                Source::Logs { .. } => self.write_cards::<LogLine>(package, read).await?,
                Source::Things(_) => self.write_cards::<ThingLine>(package, read).await?,
                Source::Bytes(_) => {
                    let files = package.entries.iter().filter(|entry| entry.id.is_some()).take(html::MAX_SHOWN);
                    let files: Vec<_> = files.cloned().collect();
                    package.write(html::files(&files).as_bytes()).await?;
                }
            }
            package.write(html::more(html::MAX_SHOWN, source.records + source.mentions).as_bytes()).await?;
        }
        package.write(html::END.as_bytes()).await?;
        package.end(None, None);
        Ok(())
    }

    async fn write_cards<T: table::Row + DeserializeOwned>(
        &self,
        package: &mut Package<'_>,
        read: &Read<'_>,
    ) -> Result<(), ActivityError> {
        let columns = self.columns(read.set);
        let mut lines = self.parts.lines(read.number, &read.state);
        for _ in 0..html::MAX_SHOWN {
            let Some(line) = lines.next::<T>().await? else { break };
            package.write(html::card(&line, &columns).as_bytes()).await?;
        }
        Ok(())
    }
}
