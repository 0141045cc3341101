//! Sealed parts in the blob store: written while they are made, read while they come.

use contracts::ActivityError;
use futures::TryStreamExt as _;
use store::{BlobBody, BlobKey, Blobs};
use vault::{DataKey, PartEntry, PartReader, PartSummary, PartWriter, WrappedKey, key_context, part_context};

use super::{key_failed, part_failed, place};
use crate::Context;
use crate::files::{BlobWriter, lost, write_blob};
use crate::harness::store_failed;

/// Which backup a part belongs to, and the key that opens it.
pub(crate) struct Vault<'a> {
    blobs: &'a dyn Blobs,
    tenant_id: &'a str,
    backup_id: &'a str,
    key: DataKey,
}

/// A part being written.
pub(super) struct Sealing<'a> {
    part: PartWriter,
    blob: &'a mut BlobWriter,
    /// Bytes of its lines.
    pub(super) bytes: usize,
    pub(super) lines: u64,
}

impl Sealing<'_> {
    pub(super) async fn line(&mut self, line: &[u8]) -> Result<(), ActivityError> {
        self.part.write_line(line).map_err(part_failed)?;
        self.bytes += line.len() + 1;
        self.lines += 1;
        self.blob.write(self.part.take()).await
    }
}

impl<'a> Vault<'a> {
    /// Of a backup of a tenant, with its key.
    pub(crate) async fn of(
        context: &Context<'a>,
        tenant_id: &'a str,
        backup_id: &'a str,
        wrapped: &WrappedKey,
    ) -> Result<Self, ActivityError> {
        let key = context.keys.unwrap(wrapped, &key_context(tenant_id, backup_id)).await.map_err(key_failed)?;
        Ok(Self { blobs: context.blobs, tenant_id, backup_id, key })
    }

    /// Writes a part; answers what the lines were made of.
    pub(super) async fn write<T>(
        &self,
        name: &str,
        produce: impl AsyncFnOnce(&mut Sealing<'_>) -> Result<T, ActivityError>,
    ) -> Result<(T, PartSummary), ActivityError> {
        let context = part_context(self.tenant_id, self.backup_id, name);
        write_blob(self.blobs, &self.place(name)?, async |blob| {
            let part = PartWriter::new(&self.key, &context).map_err(part_failed)?;
            let mut sealing = Sealing { part, blob, bytes: 0, lines: 0 };
            let made = produce(&mut sealing).await?;
            let (rest, summary) = sealing.part.finish().map_err(part_failed)?;
            sealing.blob.write(rest).await?;
            Ok((made, summary))
        })
        .await
    }

    /// Begins to read a part.
    pub(crate) async fn open(&self, part: &PartEntry) -> Result<Opened, ActivityError> {
        let body = self.blobs.get(&self.place(&part.name)?).await.map_err(store_failed)?;
        let body = body.ok_or_else(|| lost(&format!("the part {}", part.name)))?;
        let context = part_context(self.tenant_id, self.backup_id, &part.name);
        let reader = PartReader::new(&self.key, &context).map_err(part_failed)?;
        Ok(Opened::new(reader, body))
    }

    pub(super) fn place(&self, name: &str) -> Result<BlobKey, ActivityError> {
        place(self.tenant_id, self.backup_id, name)
    }
}

/// The lines of parts, one part after the other.
pub(crate) struct Lines<'a> {
    vault: &'a Vault<'a>,
    parts: std::slice::Iter<'a, PartEntry>,
    opened: Option<(&'a PartEntry, Opened)>,
}

impl<'a> Lines<'a> {
    pub(crate) fn of(vault: &'a Vault<'a>, parts: &'a [PartEntry]) -> Self {
        Self { vault, parts: parts.iter(), opened: None }
    }

    /// The next line, and the part that it is in; none after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<(&'a PartEntry, Vec<u8>)>, ActivityError> {
        loop {
            if let Some((part, opened)) = &mut self.opened
                && let Some(line) = opened.next().await?
            {
                return Ok(Some((*part, line)));
            }
            let Some(part) = self.parts.next() else { return Ok(None) };
            self.opened = Some((part, self.vault.open(part).await?));
        }
    }
}

/// A part being read.
pub(crate) struct Opened {
    reader: PartReader,
    body: BlobBody,
    is_over: bool,
}

impl Opened {
    pub(crate) fn new(reader: PartReader, body: BlobBody) -> Self {
        Self { reader, body, is_over: false }
    }

    /// The next line; none after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, ActivityError> {
        loop {
            if let Some(line) = self.reader.next_line().map_err(part_failed)? {
                return Ok(Some(line));
            }
            if self.is_over {
                return Ok(None);
            }
            match self.body.try_next().await.map_err(store_failed)? {
                Some(bytes) => self.reader.push(&bytes),
                None => self.is_over = true,
            }
        }
    }

    /// Whether it was the whole part.
    pub(crate) fn finish(self) -> Result<PartSummary, ActivityError> {
        self.reader.finish().map_err(part_failed)
    }
}
