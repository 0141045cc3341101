//! Sealed parts of an export in the blob store: nobody reads them without the installation's keys.

use contracts::ActivityError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::BlobKey;
use vault::{DataKey, PartReader, PartWriter, WrappedKey};

use super::{Plan, SetState};
use crate::Context;
use crate::backup::{Opened, key_failed, part_failed};
use crate::files::{BlobWriter, lost, write_blob};
use crate::harness::store_failed;

/// A key for the parts of this export.
pub(super) async fn new_key(context: &Context<'_>) -> Result<WrappedKey, ActivityError> {
    let (_, wrapped) = context.keys.new_data_key(&purpose(context)).await.map_err(key_failed)?;
    Ok(wrapped)
}

/// What the key and the parts belong to: those of one export do not open as those of another.
fn purpose(context: &Context<'_>) -> String {
    format!("export/{}/{}", context.tenant_id(), context.execution_id())
}

fn name_of(set: usize, part: u32) -> String {
    format!("export-{set}-{part:05}.part")
}

/// Where the parts of a data set are, and one that may have been written without being noted.
pub(super) fn places(context: &Context<'_>, set: usize, state: &SetState) -> Result<Vec<BlobKey>, ActivityError> {
    (1..=state.parts + 1).map(|part| context.files().key(&name_of(set, part))).collect()
}

/// The parts of an export.
pub(super) struct Parts<'a> {
    context: &'a Context<'a>,
    key: DataKey,
}

/// A part being written.
pub(super) struct Sealing<'a> {
    part: PartWriter,
    blob: &'a mut BlobWriter,
    /// Bytes of its lines.
    pub(super) bytes: u64,
}

impl Sealing<'_> {
    pub(super) async fn line(&mut self, line: &impl Serialize) -> Result<(), ActivityError> {
        let line = serde_json::to_vec(line).map_err(|error| lost(&error.to_string()))?;
        self.part.write_line(&line).map_err(part_failed)?;
        self.bytes += line.len() as u64;
        self.blob.write(self.part.take()).await
    }
}

impl<'a> Parts<'a> {
    pub(super) async fn of(context: &'a Context<'a>, plan: &Plan) -> Result<Self, ActivityError> {
        let key = context.keys.unwrap(&plan.data_key, &purpose(context)).await.map_err(key_failed)?;
        Ok(Self { context, key })
    }

    /// Writes a part, in place of one that an earlier attempt may have written.
    pub(super) async fn write<T>(
        &self,
        set: usize,
        part: u32,
        produce: impl AsyncFnOnce(&mut Sealing<'_>) -> Result<T, ActivityError>,
    ) -> Result<T, ActivityError> {
        let name = name_of(set, part);
        let place = self.context.files().key(&name)?;
        write_blob(self.context.blobs, &place, async |blob| {
            let writer = PartWriter::new(&self.key, &self.part_purpose(&name)).map_err(part_failed)?;
            let mut sealing = Sealing { part: writer, blob, bytes: 0 };
            let made = produce(&mut sealing).await?;
            let (rest, _) = sealing.part.finish().map_err(part_failed)?;
            sealing.blob.write(rest).await?;
            Ok(made)
        })
        .await
    }

    fn part_purpose(&self, name: &str) -> String {
        format!("{}/{name}", purpose(self.context))
    }

    /// The lines of all parts of a data set.
    pub(super) fn lines(&'a self, set: usize, state: &SetState) -> Lines<'a> {
        Lines { parts: self, set, next: 1, last: state.parts, open: None }
    }

    async fn open(&self, set: usize, part: u32) -> Result<Opened, ActivityError> {
        let name = name_of(set, part);
        let body = self.context.blobs.get(&self.context.files().key(&name)?).await.map_err(store_failed)?;
        let body = body.ok_or_else(|| lost(&format!("the part {name}")))?;
        Ok(Opened::new(PartReader::new(&self.key, &self.part_purpose(&name)).map_err(part_failed)?, body))
    }
}

/// Lines being read, part after part.
pub(super) struct Lines<'a> {
    parts: &'a Parts<'a>,
    set: usize,
    next: u32,
    last: u32,
    open: Option<Opened>,
}

impl Lines<'_> {
    /// The next line; none after the last one.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ActivityError> {
        loop {
            let Some(opened) = &mut self.open else {
                if self.next > self.last {
                    return Ok(None);
                }
                self.open = Some(self.parts.open(self.set, self.next).await?);
                self.next += 1;
                continue;
            };
            if let Some(line) = opened.next().await? {
                return serde_json::from_slice(&line).map(Some).map_err(|_| lost("a line of an export"));
            }
            // Whether it was the whole part.
            self.open.take().map(Opened::finish).transpose()?;
        }
    }
}
