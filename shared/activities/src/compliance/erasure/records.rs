//! What files of executions say of a person: the lines of jobs go, and ids elsewhere become the pseudonym.

use bytes::{Bytes, BytesMut};
use contracts::{ActivityError, WorkflowKind};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use store::{BlobBody, BlobKey, JOBS, LISTED, Naming, RESULTS, StoreError};

use super::Plan;
use super::forget::Who;
use crate::Context;
use crate::files::key;
use crate::harness::store_failed;

/// Forgets a person in the files that an execution left; whether they named the person.
pub(super) async fn forget_files(
    context: &Context<'_>,
    (id, kind): (&str, WorkflowKind),
    who: &Who<'_>,
) -> Result<bool, ActivityError> {
    let plan = who.plan;
    let (is_job, naming, mut has_named) = (kind == WorkflowKind::BulkOperation, Naming::of(&plan.subject), false);
    let persons: Vec<String> = who.names().cloned().collect();
    let is_meant = |record: &[u8]| match is_job {
        true => names_any(record, &persons),
        // What would be renamed: another file need not be written anew.
        false => naming.is_in(&String::from_utf8_lossy(record)),
    };
    let mentions = |record: &[u8]| begins_with(record, &plan.subject);
    for folder in [RESULTS, JOBS] {
        for name in names_in(context, &[folder, id]).await? {
            let file = key(context.tenant_id(), &[folder, id, &name])?;
            let is_csv = name.ends_with(".csv");
            if folder == JOBS && is_of_backup(kind, &name) {
                // How far a backup was. It has ended, and ids of things may be made of the person's.
                if has_any(context, &file, false, mentions).await? {
                    has_named |= has_any(context, &file, false, is_meant).await?;
                    context.blobs.remove(&[file]).await.map_err(store_failed)?;
                }
                continue;
            }
            if !has_any(context, &file, is_csv, is_meant).await? {
                continue;
            }
            has_named = true;
            if !is_job {
                rename(context, &file, plan).await?;
            } else if folder == RESULTS {
                leave_out(context, &file, is_csv, persons.clone()).await?;
            } else {
                // What is planned by places in files cannot be gone on with any more.
                context.blobs.remove_folder(context.tenant_id(), &[folder, id]).await.map_err(store_failed)?;
                break;
            }
        }
    }
    Ok(has_named)
}

/// Whether a file of an execution is one of the backup that it made, or of the restore that it was.
fn is_of_backup(kind: WorkflowKind, name: &str) -> bool {
    match kind {
        WorkflowKind::CrossServiceBackup | WorkflowKind::DataMigration => name.starts_with(crate::backup::FILES),
        WorkflowKind::CrossServiceRestore => name.starts_with(crate::restore::FILES),
        _ => false,
    }
}

/// Whether an id in a record begins with the person's.
fn begins_with(record: &[u8], person: &str) -> bool {
    neighbours(record, person).any(|(before, _)| before.is_none_or(|byte| !is_of_id(byte)))
}

fn is_of_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

async fn names_in(context: &Context<'_>, folder: &[&str]) -> Result<Vec<String>, ActivityError> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let names = context.blobs.list(context.tenant_id(), folder, after.as_deref()).await.map_err(store_failed)?;
        after = names.last().cloned().filter(|_| names.len() == LISTED);
        all.extend(names);
        if after.is_none() {
            return Ok(all);
        }
    }
}

type Records = BoxStream<'static, Result<Bytes, StoreError>>;

async fn records(context: &Context<'_>, file: &BlobKey, is_csv: bool) -> Result<Option<Records>, ActivityError> {
    let body = context.blobs.get(file).await.map_err(store_failed)?;
    Ok(body.map(|body| split(body, is_csv)))
}

async fn has_any(
    context: &Context<'_>,
    file: &BlobKey,
    is_csv: bool,
    is_meant: impl Fn(&[u8]) -> bool,
) -> Result<bool, ActivityError> {
    let Some(mut records) = records(context, file, is_csv).await? else { return Ok(false) };
    while let Some(record) = records.try_next().await.map_err(store_failed)? {
        if is_meant(&record) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a file anew without the records that name the person.
async fn leave_out(
    context: &Context<'_>,
    file: &BlobKey,
    is_csv: bool,
    persons: Vec<String>,
) -> Result<(), ActivityError> {
    let Some(records) = records(context, file, is_csv).await? else { return Ok(()) };
    let left = records.try_filter(move |record| std::future::ready(!names_any(record, &persons))).boxed();
    context.blobs.put(file, left).await.map_err(store_failed)
}

/// Writes a file anew with the pseudonym in the place of the person.
async fn rename(context: &Context<'_>, file: &BlobKey, plan: &Plan) -> Result<(), ActivityError> {
    let Some(records) = records(context, file, false).await? else { return Ok(()) };
    let naming = [Naming::of(&plan.subject), Naming::of(&plan.pseudonym())];
    let renamed = records.map_ok(move |record| match std::str::from_utf8(&record) {
        Ok(text) => naming[0].replaced(text, &naming[1]).into(),
        Err(_) => record,
    });
    context.blobs.put(file, renamed.boxed()).await.map_err(store_failed)
}

fn names_any(record: &[u8], persons: &[String]) -> bool {
    persons.iter().any(|person| names(record, person))
}

/// Whether a record names a person: their id or address is in it, and is no part of another one.
fn names(record: &[u8], person: &str) -> bool {
    let is_alone = |neighbour: Option<u8>| neighbour.is_none_or(|byte| !is_of_id(byte));
    neighbours(record, person).any(|(before, after)| is_alone(before) && is_alone(after))
}

/// What stands before and after a word, wherever it is in a record. An address is the same in capital letters.
fn neighbours<'r>(record: &'r [u8], word: &'r str) -> impl Iterator<Item = (Option<u8>, Option<u8>)> + 'r {
    let (word, is_address) = (word.as_bytes(), word.contains('@'));
    let is_same = move |found: &[u8], word: &[u8]| match is_address {
        true => found.eq_ignore_ascii_case(word),
        false => found == word,
    };
    let is_word = move |at: usize| {
        let end = at + word.len();
        // Most bytes are not the first one.
        !word.is_empty()
            && is_same(&record[at..=at], &word[..1])
            && record.get(at..end).is_some_and(|found| is_same(found, word))
    };
    let around = move |at: usize| {
        let before = at.checked_sub(1).and_then(|before| record.get(before)).copied();
        (before, record.get(at + word.len()).copied())
    };
    (0..record.len()).filter(move |at| is_word(*at)).map(around)
}

/// The records of a file, with the ends of their lines. In CSV a line may end within quotation marks.
fn split(body: BlobBody, is_csv: bool) -> Records {
    let begin = (body, BytesMut::new());
    let records = stream::try_unfold(begin, move |(mut body, mut rest)| async move {
        let (mut searched, mut is_quoted) = (0, false);
        loop {
            while let Some(byte) = rest.get(searched) {
                searched += 1;
                is_quoted ^= is_csv && *byte == b'"';
                if *byte == b'\n' && !is_quoted {
                    let record = rest.split_to(searched).freeze();
                    return Ok(Some((record, (body, rest))));
                }
            }
            match body.next().await {
                Some(more) => rest.extend_from_slice(&more?),
                None if rest.is_empty() => return Ok(None),
                None => {
                    let record = rest.split().freeze();
                    return Ok(Some((record, (body, rest))));
                }
            }
        }
    });
    records.boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_named_by_the_whole_id() {
        for (record, expected) in [
            ("\"user-1\"", true),
            ("1,auth,account,user-1,{}", true),
            ("user-1", true),
            ("user-12", false),
            ("a.user-1", false),
            ("user-12 user-1", true),
            ("", false),
        ] {
            assert_eq!(names(record.as_bytes(), "user-1"), expected, "{record}");
        }
    }

    #[test]
    fn an_id_may_begin_with_the_persons() {
        for (record, expected) in
            [("{\"last_id\":\"u1-2026\"}", true), ("a-u1-2026", false), ("9u1", false), ("x u1", true), ("", false)]
        {
            assert_eq!(begins_with(record.as_bytes(), "u1"), expected, "{record}");
        }
    }

    #[test]
    fn records_are_whole_wherever_the_bytes_are_cut() {
        let text = "a,\"b\n\"\"c\"\nd\n\ne";
        for at in 0..=text.len() {
            let (first, rest) = text.split_at(at);
            let body = || stream::iter([Ok(first.to_owned().into()), Ok(rest.to_owned().into())]).boxed();
            let all = |is_csv| -> Vec<Bytes> {
                let found = futures::executor::block_on(split(body(), is_csv).try_collect::<Vec<_>>());
                found.expect("nothing fails")
            };
            assert_eq!(all(true), ["a,\"b\n\"\"c\"\n", "d\n", "\n", "e"]);
            assert_eq!(all(false), ["a,\"b\n", "\"\"c\"\n", "d\n", "\n", "e"]);
        }
    }
}
