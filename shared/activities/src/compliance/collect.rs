//! Reads a data set of an export into sealed parts.

use std::time::Duration;

use contracts::dataset::DatasetType;
use contracts::effect::hex;
use contracts::{ActivityError, ErrorName};
use downstream::data::{Page, Thing, content, personal_page, thing};
use downstream::logs::{LogsOf, logs};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::lines::{About, ByteLine, LogLine};
use super::sealed::{Parts, Sealing};
use super::selection::{Question, line};
use super::{DataSet, Plan, SetState, Source};
use crate::Context;
use crate::backup::PIECE_BYTES;
use crate::files::{lost, unfinished};
use crate::sets::{SetInput, report};

/// Bytes of lines after which a part ends.
const PART_BYTES: u64 = 32 * 1024 * 1024;
/// How long one attempt works before it says that it is to be called again.
const SLICE: Duration = Duration::from_secs(30);
/// From this size on a file needs the zip format's form for large ones; with room for what compression may add.
const LARGE_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Reads a data set: answers `{completed, parts}`, where `completed` counts things, files or entries.
pub(crate) async fn collect(context: &Context<'_>) -> Result<Value, ActivityError> {
    let input: SetInput = context.input()?;
    context.files().noting(input.number(), collect_set(context, input).await).await
}

async fn collect_set(context: &Context<'_>, input: SetInput) -> Result<Value, ActivityError> {
    let number = input.number();
    let files = context.files();
    let plan: Plan = files.read_plan().await?;
    let set = plan.sets.get(number).ok_or_else(|| lost("a data set"))?;
    let state_file = files.state(number as u64)?;
    let mut state: SetState = files.read(&state_file).await?.unwrap_or_default();
    if let Some(error) = input.given_up {
        state.failure = Some(error);
        files.write_json(&state_file, &state).await?;
    }
    if !state.is_done && state.failure.is_none() {
        let parts = Parts::of(context, &plan).await?;
        let collecting = Collecting { context, plan: &plan, set, began: context.clock.instant() };
        state = collecting.run(number, state, &parts).await?;
    }
    let (completed, failed) = (state.own + state.mentions, u64::from(state.failure.is_some()));
    report(context, completed, failed)?;
    Ok(json!({ "completed": completed, "parts": state.parts }))
}

struct Collecting<'a> {
    context: &'a Context<'a>,
    plan: &'a Plan,
    set: &'a DataSet,
    began: clock::Instant,
}

impl Collecting<'_> {
    fn is_late(&self) -> bool {
        self.context.clock.instant().since(self.began) >= SLICE
    }

    fn is_enough(&self, sealing: &Sealing<'_>) -> bool {
        sealing.bytes >= PART_BYTES || self.is_late()
    }

    /// Writes parts until nothing is left, or this attempt has taken long enough.
    async fn run(&self, number: usize, mut state: SetState, parts: &Parts<'_>) -> Result<SetState, ActivityError> {
        let files = self.context.files();
        while !state.is_done {
            let part = state.parts + 1;
            state = parts.write(number, part, async |sealing| self.write(state, sealing).await).await?;
            state.parts = part;
            files.write_json(&files.state(number as u64)?, &state).await?;
            if !state.is_done && self.is_late() {
                return Err(unfinished(0));
            }
        }
        Ok(state)
    }

    /// Writes a part; how far the data set is then.
    async fn write(&self, mut state: SetState, sealing: &mut Sealing<'_>) -> Result<SetState, ActivityError> {
        while !state.is_done {
            match &self.set.source {
                Source::Logs { kinds, .. } if state.question == kinds.len() => state.is_done = true,
                Source::Logs { .. } => self.write_logs(&mut state, sealing).await?,
                Source::Things(of) => match Question::number(of, state.question) {
                    Some(question) => self.write_things(of, question, &mut state, sealing).await?,
                    None => state.is_done = true,
                },
                Source::Bytes(_) if state.question > 0 => state.is_done = true,
                Source::Bytes(of) => self.write_files(of, &mut state, sealing).await?,
            }
            if self.is_enough(sealing) {
                break;
            }
        }
        state.bytes += sealing.bytes;
        Ok(state)
    }

    async fn page(&self, of: &DatasetType, question: Question, state: &SetState) -> Result<Page, ActivityError> {
        let (person, which) = ((self.plan.subject.as_str(), question.asked(of)), (state.cursor.as_deref(), true));
        let (service, tenant_id) = (self.set.service()?, self.context.tenant_id());
        personal_page(self.context.downstream, service, &of.entity_type, tenant_id, person, which).await
    }

    /// Writes one page of things.
    async fn write_things(
        &self,
        of: &DatasetType,
        question: Question,
        state: &mut SetState,
        sealing: &mut Sealing<'_>,
    ) -> Result<(), ActivityError> {
        let page = self.page(of, question, state).await?;
        for thing in &page.items {
            in_order(of, state, thing)?;
            if let Some(line) = line(self.plan.wish(), of, question, thing, &mut state.unlisted)? {
                sealing.line(&line).await?;
                *(if line.about == About::Person { &mut state.own } else { &mut state.mentions }) += 1;
            }
        }
        turn(state, page.next_cursor);
        Ok(())
    }

    /// Writes the bytes of the files of one page.
    async fn write_files(
        &self,
        of: &DatasetType,
        state: &mut SetState,
        sealing: &mut Sealing<'_>,
    ) -> Result<(), ActivityError> {
        let page = self.page(of, Question::Own, state).await?;
        let done = state.last_id.clone().filter(|_| state.is_within_page);
        for thing in page.items.iter().filter(|thing| done.as_ref().is_none_or(|done| thing.id > *done)) {
            in_order(of, state, thing)?;
            // A name that the map does not let out is not let out here.
            let Some(line) = line(self.plan.wish(), of, Question::Own, thing, &mut state.unlisted)? else { continue };
            let name = line.data["name"].as_str().unwrap_or(&thing.id).to_owned();
            let size = match self.write_file(of, thing, name, sealing).await {
                // The others are there.
                Err(error) if self.plan.allow_partial && error.error == ErrorName::NotFound.as_str() => {
                    state.missing.push(thing.id.clone());
                    None
                }
                size => size?,
            };
            if let Some(size) = size {
                state.own += 1;
                if size >= LARGE_BYTES {
                    state.large.insert(thing.id.clone());
                }
            }
            state.is_within_page = true;
            // Between any two files: the bytes of a single one may be many.
            if self.is_enough(sealing) {
                return Ok(());
            }
        }
        turn(state, page.next_cursor);
        Ok(())
    }

    /// Writes the bytes of a file, and tells how many; none if it has none, or is gone by now.
    async fn write_file(
        &self,
        of: &DatasetType,
        file: &Thing,
        name: String,
        sealing: &mut Sealing<'_>,
    ) -> Result<Option<u64>, ActivityError> {
        let (id, tenant_id) = (&file.id, self.context.tenant_id());
        let Some(mut content) = content(self.context.downstream, tenant_id, id).await? else {
            // What says how large it is has bytes.
            if file.data["size_bytes"].as_u64().is_some_and(|size| size > 0)
                && thing(self.context.downstream, self.set.service()?, &of.entity_type, tenant_id, id).await?.is_some()
            {
                let message = format!("file: the file {id} is there, and its bytes are not");
                return Err(ActivityError::new(ErrorName::NotFound, message));
            }
            return Ok(None);
        };
        sealing.line(&ByteLine::File { id: id.to_owned(), name }).await?;
        let (mut hash, mut size) = (Sha256::new(), 0_u64);
        while let Some(bytes) = content.next().await? {
            hash.update(&bytes);
            size += bytes.len() as u64;
            for piece in bytes.chunks(PIECE_BYTES) {
                sealing.line(&ByteLine::piece(piece)).await?;
            }
        }
        let sha256 = hex(&hash.finalize());
        if content.sha256.as_ref().is_some_and(|said| *said != sha256) {
            let message = format!("file: the bytes of the file {id} are not those of its ETag");
            return Err(ActivityError::new(ErrorName::IntegrityViolation, message));
        }
        sealing.line(&ByteLine::End { size, sha256 }).await?;
        Ok(Some(size))
    }

    /// Writes one page of logs.
    async fn write_logs(&self, state: &mut SetState, sealing: &mut Sealing<'_>) -> Result<(), ActivityError> {
        let Source::Logs { kinds, from, to } = &self.set.source else { return Ok(()) };
        let of = LogsOf {
            kind: &kinds[state.question],
            subject: &self.plan.subject,
            from: *from,
            to: *to,
            cursor: state.cursor.as_deref(),
        };
        let page = logs(self.context.downstream, self.set.service()?, self.context.tenant_id(), of).await?;
        for entry in page.entries {
            sealing.line(&LogLine::of(entry, &self.plan.subject)).await?;
            state.own += 1;
        }
        turn(state, page.next_cursor);
        Ok(())
    }
}

/// Goes on with the next page, or with the next question.
fn turn(state: &mut SetState, next_cursor: Option<String>) {
    state.is_within_page = false;
    if next_cursor.is_none() {
        state.question += 1;
        state.last_id = None;
    }
    state.cursor = next_cursor;
}

/// Notes a thing; ids come in order.
fn in_order(of: &DatasetType, state: &mut SetState, thing: &Thing) -> Result<(), ActivityError> {
    if state.last_id.as_ref().is_some_and(|last| *last >= thing.id) {
        let message = format!("{}: its pages of {} are not in the order of ids, or repeat", of.service, of.entity_type);
        return Err(ActivityError::new(ErrorName::IntegrityViolation, message));
    }
    state.last_id = Some(thing.id.clone());
    Ok(())
}
