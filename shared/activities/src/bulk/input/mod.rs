//! Entities that were uploaded: JSON Lines or CSV, plain or compressed by zstd.
//!
//! A file is read as it comes, whatever its size. What is no such file is refused as a whole, in words that say how to save
//! it; a row that is no entity is told by its line.

mod csv;
mod json_lines;
mod row;
mod zstd;

use bytes::Bytes;
use contracts::bulk_operation::{BulkOperationRequest, OnMalformed};
use contracts::{ActivityError, ErrorName};
use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use store::BlobBody;

use super::Entity;
use crate::harness::store_failed;
use csv::CsvRows;
use json_lines::JsonLines;
use row::Row;
use zstd::Unpacker;

/// Most entities of a file.
const MAX_ENTITIES: u64 = 10_000_000;
/// Most bytes of a file once it is unpacked: a small file may become a very large one.
const MAX_UNPACKED_BYTES: u64 = 8 * 1024 * 1024 * 1024;
/// Longest line of JSON, and longest row of CSV.
const MAX_ROW_BYTES: usize = 256 * 1024;
/// Bytes of the file that are taken apart at once: so much, and what its rows are made of, is in memory, and nobody else waits
/// longer than that takes.
const PART_BYTES: usize = 16 * 1024;

/// What is wrong with a file as a whole.
fn no_input(problem: impl Into<String>) -> ActivityError {
    ActivityError::new(ErrorName::InvalidInput, problem.into())
}

/// A row of the file: its line, its text as it is in the file, and what is in it or what is wrong with it.
struct Line {
    number: u64,
    text: Vec<u8>,
    row: Result<Row, String>,
}

/// Takes a file apart. Bytes go in, lines come out.
trait Rows: Send {
    /// More of the file.
    fn push(&mut self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<(), ActivityError>;
    /// That was all.
    fn finish(&mut self, lines: &mut Vec<Line>) -> Result<(), ActivityError>;
}

/// The entities of an uploaded file, in its order. A row that is none becomes an entity with a problem, or stops all.
pub(crate) fn entities<'a>(
    body: BlobBody,
    request: &'a BulkOperationRequest,
) -> BoxStream<'a, Result<Entity, ActivityError>> {
    let reader = Reader {
        body: Some(body),
        bytes: Bytes::new(),
        unpacker: None,
        rows: None,
        head: Vec::new(),
        unpacked: 0,
        next: 0,
        request,
    };
    let parts = stream::try_unfold(reader, async move |mut reader| {
        let entities = reader.part().await?;
        Ok::<_, ActivityError>(entities.map(|entities| (stream::iter(entities.into_iter().map(Ok)), reader)))
    });
    futures::TryStreamExt::try_flatten(parts).boxed()
}

struct Reader<'a> {
    /// None once it has been read to its end.
    body: Option<BlobBody>,
    /// What has come of it, and is still to be taken apart.
    bytes: Bytes,
    /// Of a compressed file.
    unpacker: Option<Unpacker>,
    /// Known once the first bytes are.
    rows: Option<Box<dyn Rows>>,
    /// The first bytes, as long as they do not tell what the file is.
    head: Vec<u8>,
    unpacked: u64,
    /// The next entity's index.
    next: u64,
    request: &'a BulkOperationRequest,
}

impl Reader<'_> {
    /// The next entities; none after the last ones.
    async fn part(&mut self) -> Result<Option<Vec<Entity>>, ActivityError> {
        loop {
            let mut lines = Vec::new();
            if self.has_more() {
                self.take(&mut lines)?;
                // A small file may unpack to a very large one, all of which is there at once.
                tokio::task::yield_now().await;
            } else {
                let Some(body) = &mut self.body else { return Ok(None) };
                match body.next().await.transpose().map_err(store_failed)? {
                    Some(bytes) => self.bytes = bytes,
                    None => {
                        self.body = None;
                        self.end(&mut lines)?;
                    }
                }
            }
            let entities = lines.into_iter().map(|line| self.entity(line)).collect::<Result<Vec<_>, _>>()?;
            if self.body.is_none() && !self.has_more() && self.next == 0 {
                return Err(no_input("the file has no row: there is nothing to do"));
            }
            if !entities.is_empty() {
                return Ok(Some(entities));
            }
        }
    }

    fn has_more(&self) -> bool {
        !self.bytes.is_empty() || self.unpacker.as_ref().is_some_and(Unpacker::has_more)
    }

    /// Takes the next bytes apart.
    fn take(&mut self, lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        if self.rows.is_some() || self.unpacker.is_some() {
            return self.unpack(lines);
        }
        self.head.extend_from_slice(&self.bytes.split_to(self.bytes.len().min(PART_BYTES)));
        // Enough for every mark that a file may begin with.
        if self.head.len() < 4 {
            return Ok(());
        }
        self.begin(lines)
    }

    /// Finds out by its first bytes what the file is.
    fn begin(&mut self, lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        let head = std::mem::take(&mut self.head);
        if !head.starts_with(&zstd::MAGIC) {
            refuse_other_formats(&head)?;
            return self.read(&head, lines);
        }
        self.unpacker = Some(Unpacker::new()?);
        self.bytes = [&head[..], &self.bytes].concat().into();
        self.unpack(lines)
    }

    fn unpack(&mut self, lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        let part = match &mut self.unpacker {
            Some(unpacker) => unpacker.unpack(&mut self.bytes)?,
            None => self.bytes.split_to(self.bytes.len().min(PART_BYTES)),
        };
        self.read(&part, lines)
    }

    fn read(&mut self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        self.unpacked += bytes.len() as u64;
        if self.unpacked > MAX_UNPACKED_BYTES {
            return Err(no_input(format!("the file has more than {MAX_UNPACKED_BYTES} bytes once it is unpacked")));
        }
        let Some(rows) = &mut self.rows else {
            self.head.extend_from_slice(bytes);
            let text = self.head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.head);
            // Too few to tell.
            let Some(first) = text.iter().find(|byte| !byte.is_ascii_whitespace()) else {
                return match self.head.len() > MAX_ROW_BYTES {
                    true => Err(no_input("the file begins with nothing but blank lines: remove them")),
                    false => Ok(()),
                };
            };
            let mut rows: Box<dyn Rows> = match first {
                b'{' => Box::new(JsonLines::default()),
                b'[' => {
                    return Err(no_input(
                        "the file is a JSON array: write one object on each line, without brackets \
                                         around them and commas between them",
                    ));
                }
                _ => Box::new(CsvRows::default()),
            };
            let text = text.to_vec();
            self.head.clear();
            let pushed = rows.push(&text, lines);
            self.rows = Some(rows);
            return pushed;
        };
        rows.push(bytes, lines)
    }

    fn end(&mut self, lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        if self.rows.is_none() && self.unpacker.is_none() {
            self.begin(lines)?;
        }
        if let Some(unpacker) = &self.unpacker {
            unpacker.finish()?;
        }
        match &mut self.rows {
            Some(rows) => rows.finish(lines),
            None => Ok(()),
        }
    }

    /// The entity of a line.
    fn entity(&mut self, line: Line) -> Result<Entity, ActivityError> {
        let index = self.next;
        self.next += 1;
        if self.next > MAX_ENTITIES {
            return Err(no_input(format!("the file has more than {MAX_ENTITIES} rows")));
        }
        let entity = line.row.and_then(|row| row.entity(index, self.request));
        entity.or_else(|problem| {
            let problem = format!("line {}: {problem}", line.number);
            match self.request.input.as_ref().map(|input| input.on_malformed) {
                Some(OnMalformed::Continue) => {
                    let row = String::from_utf8_lossy(line.text.trim_ascii()).into_owned();
                    Ok(Entity::malformed(index, problem, row))
                }
                Some(OnMalformed::Stop) | None => Err(no_input(problem)),
            }
        })
    }
}

/// Files that people have, and that are no text.
fn refuse_other_formats(head: &[u8]) -> Result<(), ActivityError> {
    let how = "save it as CSV in UTF-8, or as JSON Lines";
    for (mark, what) in [
        (&b"PK\x03\x04"[..], "a spreadsheet or a ZIP archive"),
        (b"\x1f\x8b", "compressed by gzip, and only zstd is known"),
        (b"\xff\xfe", "in UTF-16"),
        (b"\xfe\xff", "in UTF-16"),
        (b"\xd0\xcf\x11\xe0", "an old spreadsheet"),
        (b"%PDF", "a PDF"),
    ] {
        if head.starts_with(mark) {
            return Err(no_input(format!("the file is {what}: {how}")));
        }
    }
    match head.contains(&0) {
        true => Err(no_input(format!("the file is no text in UTF-8: {how}"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
