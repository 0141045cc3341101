//! Makes the package of an export from everything that was read.

use std::collections::BTreeSet;

use contracts::ActivityError;
use contracts::dataset::{Category, DatasetType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::gathered::{Read, sets, summaries};
use super::lines::{ByteLine, LogLine, ThingLine};
use super::package::manifest::{MANIFEST, Manifest, NotRead, SourceEntry};
use super::package::{Entry, Package, html, names, table};
use super::sealed::Parts;
use super::{Closed, DataSet, Packed, Plan, SetSummary, Source};
use crate::Context;
use crate::files::{BlobWriter, lost, write_blobs};
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
    let packing = Packing { context, plan: &plan, parts: &parts, sets: &sets, not_read: &not_read };
    let packages = write_blobs(context.blobs, async |blob| packing.write(blob).await).await?;
    let first = context.result_key(&plan.package_name(1))?;
    let stored_encrypted = context.blobs.encryption(&first).await.map_err(store_failed)?.map(str::to_owned);
    let sets: Vec<SetSummary> = summaries(&sets, &not_read);
    let records: u64 = sets.iter().map(|set| set.records + set.mentions).sum();
    files.write_json(&files.key(PACKED)?, &Packed { packages, stored_encrypted, sets }).await?;
    Ok(json!({ "records": records }))
}

struct Packing<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    parts: &'a Parts<'a>,
    sets: &'a [Read<'a>],
    not_read: &'a [NotRead],
}

/// What is being written, and what was before.
struct Packages<'a> {
    open: Package<'a>,
    closed: Vec<Closed>,
    /// The first files that have bytes of the person's files.
    shown: Vec<Entry>,
}

impl Packing<'_> {
    /// Writes the packages.
    async fn write(&self, blob: &mut BlobWriter) -> Result<Vec<Closed>, ActivityError> {
        blob.begin(self.context.result_key(&self.plan.package_name(1))?).await?;
        let open = Package::new(blob, self.plan.encrypt_to.as_deref())?;
        let mut packages = Packages { open, closed: Vec::new(), shown: Vec::new() };
        let mut sources = Vec::new();
        for read in self.sets {
            let files = match &read.set.source {
                Source::Logs { .. } => self.write_table::<LogLine>(&mut packages, read, "logs").await?,
                Source::Things(_) => self.write_table::<ThingLine>(&mut packages, read, "data").await?,
                Source::Bytes(_) => self.write_files(&mut packages, read).await?,
            };
            sources.push(self.source(read, files));
        }
        self.write_index(&mut packages, &sources).await?;
        let Packages { open: mut last, mut closed, .. } = packages;
        last.add(MANIFEST, &self.manifest(&closed, &sources, self.not_read, &last.entries)?).await?;
        let (bytes, sha256) = last.finish().await?;
        closed.push(Closed { name: self.plan.package_name(closed.len() + 1), bytes, sha256 });
        Ok(closed)
    }

    fn manifest(
        &self,
        closed: &[Closed],
        sources: &[SourceEntry],
        not_read: &[NotRead],
        files: &[Entry],
    ) -> Result<Vec<u8>, ActivityError> {
        Manifest::new(self.context.tenant_id(), self.plan, closed, sources, not_read, files).text()
    }

    /// Begins a file; in another package, if this one is large enough.
    async fn begin(&self, packages: &mut Packages<'_>, path: String, is_large: bool) -> Result<(), ActivityError> {
        let Packages { open, closed, .. } = packages;
        if open.bytes() >= self.plan.max_package_bytes {
            let number = closed.len() + 1;
            let manifest = self.manifest(closed, &[], &[], &open.entries)?;
            open.add(&MANIFEST.replace('.', &format!("-{number}.")), &manifest).await?;
            let (bytes, sha256) = open.next(self.context.result_key(&self.plan.package_name(number + 1))?).await?;
            closed.push(Closed { name: self.plan.package_name(number), bytes, sha256 });
        }
        open.begin(path, is_large)
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

    /// Writes lines as JSON, and again as CSV: the files.
    async fn write_table<T: table::Row + DeserializeOwned + Serialize>(
        &self,
        packages: &mut Packages<'_>,
        read: &Read<'_>,
        folder: &str,
    ) -> Result<Vec<String>, ActivityError> {
        let name = match &read.set.source {
            Source::Logs { .. } => format!("{folder}/{}", read.set.service),
            _ => format!("{folder}/{}.{}", read.set.service, read.set.name()),
        };
        let paths = [format!("{name}.json"), format!("{name}.csv")];
        let is_large = read.state.bytes >= LARGE_BYTES;
        let records = read.state.own + read.state.mentions;
        self.begin(packages, paths[0].clone(), is_large).await?;
        let (mut lines, mut is_empty) = (self.parts.lines(read.number, &read.state), true);
        while let Some(line) = lines.next::<T>().await? {
            packages.open.write(&table::json(&line, is_empty)?).await?;
            is_empty = false;
        }
        packages.open.write(table::json_end(is_empty)).await?;
        packages.open.end(Some(records), None);
        self.begin(packages, paths[1].clone(), is_large).await?;
        let columns = self.columns(read.set);
        packages.open.write(&table::head(&columns)).await?;
        let mut lines = self.parts.lines(read.number, &read.state);
        while let Some(line) = lines.next::<T>().await? {
            packages.open.write(&table::csv(&line, &columns)).await?;
        }
        packages.open.end(Some(records), None);
        Ok(paths.into())
    }

    /// Writes the bytes of files, each as a file of its own. There may be many: a source does not list them.
    async fn write_files(&self, packages: &mut Packages<'_>, read: &Read<'_>) -> Result<Vec<String>, ActivityError> {
        let mut lines = self.parts.lines(read.number, &read.state);
        let (mut number, mut file) = (0, None);
        while let Some(line) = lines.next::<ByteLine>().await? {
            match line {
                ByteLine::File { id, name } => {
                    number += 1;
                    let is_large = read.state.large.contains(&id);
                    self.begin(packages, names::path_of(number, &name), is_large).await?;
                    file = Some(id);
                }
                ByteLine::Piece(piece) => packages.open.write(&ByteLine::decoded(&piece)?).await?,
                ByteLine::End { size, sha256 } => {
                    let entry = packages.open.end(None, file.take());
                    let is_whole = entry.is_some_and(|entry| (entry.bytes, &entry.sha256) == (size, &sha256));
                    is_whole.then_some(()).ok_or_else(|| lost("the bytes of a file"))?;
                    if packages.shown.len() < html::MAX_SHOWN {
                        packages.shown.extend(entry.cloned());
                    }
                }
            }
        }
        Ok(Vec::new())
    }

    /// Writes the page that people open.
    async fn write_index(&self, packages: &mut Packages<'_>, sources: &[SourceEntry]) -> Result<(), ActivityError> {
        let categories: Vec<&str> = self.plan.categories.iter().map(|category| category.as_str()).collect();
        let facts = [
            ("Person", self.plan.subject.as_str()),
            ("Organisation", self.context.tenant_id()),
            ("Legal basis", self.plan.legal_basis.as_deref().unwrap_or("not given")),
            ("Categories", &categories.join(", ")),
        ];
        self.begin(packages, html::INDEX.to_owned(), false).await?;
        let Packages { open: package, closed, shown } = packages;
        let names: Vec<&str> = closed.iter().map(|closed| closed.name.as_str()).collect();
        package.write(html::beginning(&facts, &names, sources, self.not_read).as_bytes()).await?;
        for (read, source) in self.sets.iter().zip(sources).filter(|(_, source)| source.records + source.mentions > 0) {
            package.write(html::heading(source).as_bytes()).await?;
            match &read.set.source {
                Source::Logs { .. } => self.write_cards::<LogLine>(package, read).await?,
                Source::Things(_) => self.write_cards::<ThingLine>(package, read).await?,
                Source::Bytes(_) => package.write(html::files(shown).as_bytes()).await?,
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
