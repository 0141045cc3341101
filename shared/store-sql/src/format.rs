//! The format of a database's file, read without opening the database: opening it would write.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;

use crate::files::beside;

/// The format of the files: what this number stands for changes with what earlier programs could not have written.
pub const FORMAT: u32 = 2;

/// What every database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Where the first page has `user_version`, and how long its header is (<https://sqlite.org/fileformat.html>).
const USER_VERSION: usize = 60;
const HEADER: usize = 100;

/// The headers of the log and of each of its frames.
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The format of this file; none if no program has written its format yet.
///
/// # Errors
/// The file cannot be read, or is no database.
pub fn format_of(file: &Path) -> io::Result<Option<u32>> {
    let mut header = Vec::new();
    File::open(file)?.take(HEADER as u64).read_to_end(&mut header)?;
    if !header.is_empty() && !header.starts_with(MAGIC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is no SQLite database"));
    }
    let in_file = number(&header, USER_VERSION).unwrap_or_default();
    let in_log = format_in_log(&beside(file, "-wal")).unwrap_or_default();
    Ok(Some(in_log.unwrap_or(in_file)).filter(|format| *format != 0))
}

/// What the last committed first page in the log says, which counts before the file's own.
fn format_in_log(log: &Path) -> io::Result<Option<u32>> {
    let mut log = BufReader::new(File::open(log)?);
    let mut header = [0; LOG_HEADER];
    log.read_exact(&mut header)?;
    let (page_size, salts) = (number(&header, 8).unwrap_or_default(), &header[16..24]);
    let (mut written, mut committed) = (None, None);
    let mut frame = [0; FRAME_HEADER];
    // A frame with other salts is what is left of an earlier log.
    while log.read_exact(&mut frame).is_ok() && frame[8..16] == *salts {
        let mut rest = i64::from(page_size);
        if number(&frame, 0) == Some(1) {
            let mut page = [0; HEADER];
            log.read_exact(&mut page)?;
            written = number(&page, USER_VERSION);
            rest -= HEADER as i64;
        }
        if number(&frame, 4) != Some(0) {
            committed = written;
        }
        log.seek_relative(rest)?;
    }
    Ok(committed)
}

/// The big-endian number at this place.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
}
