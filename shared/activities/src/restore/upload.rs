//! Gives files their bytes back.

use std::collections::HashMap;

use bytes::Bytes;
use contracts::{ActivityError, ErrorName};
use downstream::TransportFault;
use downstream::data::{content, put_content};
use futures::channel::mpsc::channel;
use futures::{SinkExt as _, StreamExt as _};
use vault::PartEntry;

use super::{PartState, Plan, internal, key_of};
use crate::Context;
use crate::backup::{ContentLine, Opened, Vault};
use crate::files::lost;

/// The SHA-256 of each file whose bytes are in a part.
pub(super) type Checksums = HashMap<String, String>;

pub(super) async fn checksums(vault: &Vault<'_>, part: &PartEntry) -> Result<Checksums, ActivityError> {
    let (mut opened, mut checksums) = (vault.open(part).await?, Checksums::new());
    while let Some(line) = opened.next().await? {
        if let ContentLine::End { file, sha256, .. } = ContentLine::read(&line)? {
            checksums.insert(file, sha256);
        }
    }
    Ok(checksums)
}

/// Writes the bytes of one file, unless it has them; whether there is none left.
pub(super) async fn upload_file(
    context: &Context<'_>,
    plan: &Plan,
    part: &PartEntry,
    checksums: &Checksums,
    opened: &mut Opened,
    state: &mut PartState,
) -> Result<bool, ActivityError> {
    let Some(first) = opened.next().await? else { return Ok(true) };
    let first = ContentLine::read(&first)?;
    let file_id = first.file().to_owned();
    let is_kept = plan.dry_run
        || is_kept(context, plan, &file_id).await?
        || has_bytes(context, &file_id, checksums.get(&file_id)).await?;
    let key = key_of(context, part, &file_id)?;
    let (mut sender, receiver) = channel::<Result<Bytes, TransportFault>>(2);
    let lines = async {
        let (mut line, mut lines) = (first, 1_u64);
        while let ContentLine::Piece { file, .. } = &line {
            if *file != file_id {
                return Err(lost("the end of a file's bytes"));
            }
            // Who does not want them says why.
            if !is_kept {
                let _ = sender.send(Ok(line.bytes()?.into())).await;
            }
            let next = opened.next().await?.ok_or_else(|| lost("the end of a file's bytes"))?;
            line = ContentLine::read(&next)?;
            lines += 1;
        }
        drop(sender);
        Ok(lines)
    };
    let put = async {
        match is_kept {
            true => Ok(()),
            false => put_content(context.downstream, context.tenant_id(), &file_id, key, receiver.boxed()).await,
        }
    };
    let (lines, put) = futures::join!(lines, put);
    put?;
    state.lines += lines?;
    match is_kept {
        true => state.counts.skipped += 1,
        false => state.counts.replaced += 1,
    }
    Ok(false)
}

/// Whether a file has these bytes already.
async fn has_bytes(context: &Context<'_>, file_id: &str, sha256: Option<&String>) -> Result<bool, ActivityError> {
    match content(context.downstream, context.tenant_id(), file_id).await {
        Ok(content) => Ok(sha256.is_some() && content.sha256.as_ref() == sha256),
        Err(error) if error.error == ErrorName::NotFound.as_str() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file was there before, and stays as it is.
async fn is_kept(context: &Context<'_>, plan: &Plan, file_id: &str) -> Result<bool, ActivityError> {
    let files = context.files();
    for (number, part) in plan.parts.iter().enumerate().filter(|(_, part)| part.entity_type == "file") {
        let state: Option<PartState> = files.read(&files.state(number as u64)?).await?;
        let state = state.ok_or_else(|| internal(&format!("the part {} is not restored yet", part.name)))?;
        if state.kept_files.iter().any(|kept| kept == file_id) {
            return Ok(true);
        }
    }
    Ok(false)
}
