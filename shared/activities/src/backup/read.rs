//! Reads the things of one type, or the bytes of the files, into sealed parts.

use std::time::Duration;

use contracts::effect::hex;
use contracts::{ActivityError, ErrorName};
use downstream::data::{Page, PageOf, content};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::lines::{ContentLine, PIECE_BYTES};
use super::sealed::{Sealing, Vault};
use super::{DataSet, Plan, SetState, entry, files, line_of, part_name_of};
use crate::Context;
use crate::files::{lost, unfinished};
use crate::sets::{SetInput, report};

/// Bytes of lines after which a part ends.
const PART_BYTES: usize = 32 * 1024 * 1024;
/// How long one attempt works before it says that it is to be called again.
const SLICE: Duration = Duration::from_secs(30);

/// Reads a data set: answers `{completed, parts}`, where `completed` counts things or files.
pub(crate) async fn read(context: &Context<'_>) -> Result<Value, ActivityError> {
    let input: SetInput = context.input()?;
    files(context).noting(input.number(), read_set(context, input).await).await
}

async fn read_set(context: &Context<'_>, input: SetInput) -> Result<Value, ActivityError> {
    let number = input.number();
    let files = files(context);
    let plan: Plan = files.read_plan().await?;
    let set = plan.sets.get(number).ok_or_else(|| lost("a data set"))?;
    let state_file = files.state(number as u64)?;
    let mut state: SetState = files.read(&state_file).await?.unwrap_or_default();
    if let Some(error) = input.given_up {
        state.failure = Some(error);
        files.write_json(&state_file, &state).await?;
    }
    let vault = plan.vault(context).await?;
    let reading = Reading { context, vault: &vault, set, began: context.clock.instant() };
    while !state.is_done && state.failure.is_none() {
        state = reading.write_part(state).await?;
        files.write_json(&state_file, &state).await?;
        if !state.is_done && reading.is_late() {
            return Err(unfinished(0));
        }
    }
    let (completed, failed) = (state.things, u64::from(state.failure.is_some()));
    report(context, completed, failed)?;
    Ok(json!({ "completed": completed, "parts": state.parts.len() }))
}

struct Reading<'a> {
    context: &'a Context<'a>,
    vault: &'a Vault<'a>,
    set: &'a DataSet,
    began: clock::Instant,
}

impl Reading<'_> {
    fn is_late(&self) -> bool {
        self.context.clock.instant().since(self.began) >= SLICE
    }

    /// Writes one part, unless there is nothing left; how far it is then.
    async fn write_part(&self, state: SetState) -> Result<SetState, ActivityError> {
        let first = self.page(&state).await?;
        if first.items.len() <= state.skip && first.next_cursor.is_none() {
            return Ok(SetState { watermark: state.watermark.or(Some(first.watermark)), is_done: true, ..state });
        }
        let number = state.parts.len() + 1;
        let name = part_name_of(self.set, number);
        let written = self.vault.write(&name, async |sealing| self.write_pages(state, first, sealing).await).await?;
        let (mut state, summary) = written;
        state.parts.push(entry(self.set, name, number, summary));
        Ok(state)
    }

    async fn write_pages(
        &self,
        mut state: SetState,
        mut page: Page,
        sealing: &mut Sealing<'_>,
    ) -> Result<SetState, ActivityError> {
        loop {
            state.watermark.get_or_insert_with(|| page.watermark.clone());
            for thing in page.items.iter().skip(state.skip) {
                if state.last_id.as_ref().is_some_and(|last| *last >= thing.id) {
                    let DataSet { service, entity_type, .. } = self.set;
                    let message =
                        format!("{service}: its pages of {entity_type} are not in the order of ids, or repeat");
                    return Err(ActivityError::new(ErrorName::IntegrityViolation, message));
                }
                match self.set.is_content {
                    true => self.write_content(&thing.id, sealing).await?,
                    false => sealing.line(&line_of(thing)?).await?,
                }
                state.last_id = Some(thing.id.clone());
                state.things += 1;
                state.skip += 1;
                // Between any two things: the bytes of a single file may be many.
                if sealing.bytes >= PART_BYTES || self.is_late() {
                    return Ok(state);
                }
            }
            state.skip = 0;
            match page.next_cursor.take() {
                None => return Ok(SetState { is_done: true, ..state }),
                Some(cursor) => state.cursor = Some(cursor),
            }
            page = self.page(&state).await?;
        }
    }

    async fn page(&self, state: &SetState) -> Result<Page, ActivityError> {
        let of = PageOf { cursor: state.cursor.as_deref(), changed_since: None, within: None };
        self.set.page(self.context, of).await
    }

    async fn write_content(&self, file_id: &str, sealing: &mut Sealing<'_>) -> Result<(), ActivityError> {
        write_content(self.context, file_id, sealing).await
    }
}

/// Writes the bytes of a file; nothing if it is gone.
pub(super) async fn write_content(
    context: &Context<'_>,
    file_id: &str,
    sealing: &mut Sealing<'_>,
) -> Result<(), ActivityError> {
    let content = content(context.downstream, context.tenant_id(), file_id).await?;
    let Some(mut content) = content else { return Ok(()) };
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0_u64, Vec::with_capacity(PIECE_BYTES));
    while let Some(bytes) = content.next().await? {
        hash.update(&bytes);
        size += bytes.len() as u64;
        for part in bytes.chunks(PIECE_BYTES) {
            let room = PIECE_BYTES - piece.len();
            let (now, later) = part.split_at(room.min(part.len()));
            piece.extend_from_slice(now);
            if piece.len() == PIECE_BYTES {
                sealing.line(&ContentLine::piece(file_id, &piece).text()?).await?;
                piece.clear();
                piece.extend_from_slice(later);
            }
        }
    }
    if !piece.is_empty() {
        sealing.line(&ContentLine::piece(file_id, &piece).text()?).await?;
    }
    let sha256 = hex(&hash.finalize());
    if content.sha256.as_ref().is_some_and(|said| *said != sha256) {
        let message = format!("file: the bytes of the file {file_id} are not those of its ETag");
        return Err(ActivityError::new(ErrorName::IntegrityViolation, message));
    }
    sealing.line(&ContentLine::End { file: file_id.to_owned(), size, sha256 }.text()?).await
}
