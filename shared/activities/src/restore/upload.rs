//! Gives files their bytes back.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use contracts::backup::RestoreConflict;
use contracts::{ActivityError, ErrorName};
use downstream::TransportFault;
use downstream::data::{content, put_content};
use futures::channel::mpsc::{Sender, channel};
use futures::{SinkExt as _, StreamExt as _};
use vault::PartEntry;

use super::undo::ids_of;
use super::write::Writing;
use super::{PartState, Plan, Refused, key_of};
use crate::Context;
use crate::backup::{ContentLine, Opened, Vault};
use crate::files::lost;

/// What is to be known of the files whose bytes are in a part.
#[derive(Default)]
pub(super) struct Known {
    /// Their SHA-256.
    checksums: HashMap<String, String>,
    /// Those that were there before and stay as they are.
    kept: HashSet<String>,
    /// Those that are meant, if not all are.
    meant: Option<HashSet<String>>,
}

impl Known {
    /// `kept` are the files that were there before and stay as they are.
    pub(super) async fn read(
        plan: &Plan,
        vault: &Vault<'_>,
        part: &PartEntry,
        kept: HashSet<String>,
    ) -> Result<Self, ActivityError> {
        let (mut opened, mut known) = (vault.open(part).await?, Self { kept, ..Self::default() });
        while let Some(line) = opened.next().await? {
            if let ContentLine::End { file, sha256, .. } = ContentLine::read(&line)? {
                known.checksums.insert(file, sha256);
            }
        }
        for part in plan.parts.iter().filter(|part| part.entity_type == "file" && plan.is_filtered(part)) {
            known.meant.get_or_insert_default().extend(ids_of(plan, vault, part).await?);
        }
        Ok(known)
    }

    fn is_meant(&self, file_id: &str) -> bool {
        self.meant.as_ref().is_none_or(|meant| meant.contains(file_id))
    }
}

/// Writes the bytes of one file, unless it has them; whether there is none left.
pub(super) async fn upload_file(
    writing: &Writing<'_>,
    known: &Known,
    opened: &mut Opened,
    state: &mut PartState,
) -> Result<bool, ActivityError> {
    let Writing { context, plan, part, dry_run, .. } = *writing;
    let Some(first) = opened.next().await? else { return Ok(true) };
    let first = ContentLine::read(&first)?;
    let file_id = first.file().to_owned();
    let checksum = known.checksums.get(&file_id);
    let is_meant = known.is_meant(&file_id);
    let is_compared = is_meant && !known.kept.contains(&file_id);
    let has_them = if is_compared { has_bytes(context, plan, &file_id, checksum).await? } else { None };
    let is_refused = has_them == Some(false) && plan.on_conflict == RestoreConflict::Fail;
    if is_refused {
        let (id, code) = (file_id.clone(), ErrorName::Conflict.to_string());
        state.refused.push(Refused { id, code, message: "has other bytes".to_owned() });
    }
    let is_kept = !is_compared || has_them == Some(true) || is_refused;
    let is_written = !is_kept && !dry_run;
    let key = key_of(context, part, &file_id)?;
    let (mut sender, receiver) = channel::<Result<Bytes, TransportFault>>(2);
    let lines = async {
        let lines = send_pieces(first, opened, is_written.then_some(&mut sender)).await;
        if lines.is_err() {
            // Half of the bytes are none.
            let torn = TransportFault::Broken;
            let _ = sender.send(Err(torn)).await;
        }
        drop(sender);
        lines
    };
    let downstream = context.downstream.fenced(plan.fence);
    let put = async {
        match is_written {
            false => Ok(()),
            true => put_content(&downstream, &plan.target.tenant_id, &file_id, key, receiver.boxed()).await,
        }
    };
    let (lines, put) = futures::join!(lines, put);
    state.lines += lines?;
    put?;
    match is_kept {
        true => state.counts.skipped += u64::from(is_meant),
        false => state.counts.replaced += 1,
    }
    Ok(false)
}

/// Reads the pieces of a file to its end, and sends their bytes if somebody wants them; how many lines that were.
async fn send_pieces(
    first: ContentLine,
    opened: &mut Opened,
    mut sender: Option<&mut Sender<Result<Bytes, TransportFault>>>,
) -> Result<u64, ActivityError> {
    let file_id = first.file().to_owned();
    let (mut line, mut lines) = (first, 1);
    while let ContentLine::Piece { file, .. } = &line {
        if *file != file_id {
            return Err(lost("the end of a file's bytes"));
        }
        // Who does not want them any more says why.
        if let Some(sender) = &mut sender {
            let _ = sender.send(Ok(line.bytes()?.into())).await;
        }
        let next = opened.next().await?.ok_or_else(|| lost("the end of a file's bytes"))?;
        line = ContentLine::read(&next)?;
        lines += 1;
    }
    Ok(lines)
}

/// Whether a file has these bytes already; none if it has no bytes.
async fn has_bytes(
    context: &Context<'_>,
    plan: &Plan,
    file_id: &str,
    sha256: Option<&String>,
) -> Result<Option<bool>, ActivityError> {
    let content = content(context.downstream, &plan.target.tenant_id, file_id).await?;
    Ok(content.map(|content| sha256.is_some() && content.sha256.as_ref() == sha256))
}
