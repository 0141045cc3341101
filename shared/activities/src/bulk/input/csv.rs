//! CSV as spreadsheets write it (RFC 4180): a row of names, then a row for each entity.

use contracts::ActivityError;
use csv_core::{ReadRecordResult, Reader};
use serde_json::{Map, Value};

use super::super::cell::unprotect;
use super::row::{OWN, Row, SERVICE, TYPE};
use super::{Line, MAX_ROW_BYTES, Rows, no_input};

/// Most columns.
const MAX_COLUMNS: usize = 1_000;
/// What spreadsheets read `sep=,` as, a first line that some programs write for them.
const SEPARATED_BY_COMMAS: [&str; 2] = ["sep=", ""];

pub(super) struct CsvRows {
    reader: Reader,
    /// The row under way: its fields one after the other, and where they end.
    text: Vec<u8>,
    text_len: usize,
    ends: Vec<usize>,
    ends_len: usize,
    /// The row under way as it is in the file.
    raw: Vec<u8>,
    /// The line on which the row under way begins.
    line: u64,
    /// The line on which the next byte is, whichever way lines end.
    next_line: u64,
    /// Whether the last byte was a carriage return: a line feed after it ends no line of its own.
    is_after_return: bool,
    /// Quotation marks of the row under way.
    quotes: u64,
    names: Option<Vec<String>>,
}

impl Default for CsvRows {
    fn default() -> Self {
        Self {
            reader: Reader::new(),
            text: vec![0; 4096],
            text_len: 0,
            ends: vec![0; 64],
            ends_len: 0,
            raw: Vec::new(),
            line: 1,
            next_line: 1,
            is_after_return: false,
            quotes: 0,
            names: None,
        }
    }
}

impl Rows for CsvRows {
    fn push(&mut self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        let mut rest = bytes;
        // An empty input would tell the reader that the file has ended.
        while !rest.is_empty() {
            rest = self.step(rest, lines)?;
        }
        Ok(())
    }

    fn finish(&mut self, lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        // The last row need not end with a new line.
        while self.advance(&[], lines)?.1 {}
        match self.names {
            Some(_) => Ok(()),
            None => Err(no_input("the file has no row of column names")),
        }
    }
}

impl CsvRows {
    fn step<'b>(&mut self, bytes: &'b [u8], lines: &mut Vec<Line>) -> Result<&'b [u8], ActivityError> {
        let (read, _) = self.advance(bytes, lines)?;
        Ok(&bytes[read..])
    }

    /// How many bytes were read, and whether there may be more to say without more bytes.
    fn advance(&mut self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<(usize, bool), ActivityError> {
        let (result, read, written, ended) =
            self.reader.read_record(bytes, &mut self.text[self.text_len..], &mut self.ends[self.ends_len..]);
        self.text_len += written;
        self.ends_len += ended;
        self.count(&bytes[..read]);
        // Enough for any row, however much of nothing stands before it.
        if self.raw.len() < 2 * MAX_ROW_BYTES {
            self.raw.extend_from_slice(&bytes[..read]);
        }
        match result {
            ReadRecordResult::InputEmpty => return Ok((read, bytes.is_empty())),
            ReadRecordResult::OutputFull if self.text.len() >= MAX_ROW_BYTES => {
                return Err(no_input(format!(
                    "line {}: the row has more than {MAX_ROW_BYTES} bytes; is there a quotation mark that is not closed?",
                    self.line
                )));
            }
            ReadRecordResult::OutputFull => self.text.resize((self.text.len() * 2).min(MAX_ROW_BYTES), 0),
            ReadRecordResult::OutputEndsFull if self.ends.len() >= MAX_COLUMNS => {
                return Err(no_input(format!("line {}: the row has more than {MAX_COLUMNS} columns", self.line)));
            }
            ReadRecordResult::OutputEndsFull => self.ends.resize((self.ends.len() * 2).min(MAX_COLUMNS), 0),
            ReadRecordResult::Record => {
                let row = self.take_row();
                let text = std::mem::take(&mut self.raw);
                let number = std::mem::replace(&mut self.line, self.next_line);
                let is_open = std::mem::take(&mut self.quotes) % 2 == 1;
                // Nothing came after it: the file ends within the row.
                if bytes.is_empty() && is_open && self.names.is_some() {
                    let problem = "ends within quotation marks: the file seems to be cut off".to_owned();
                    lines.push(Line { number, text, row: Err(problem) });
                } else {
                    self.add((number, text), row, lines)?;
                }
            }
            ReadRecordResult::End => return Ok((read, false)),
        }
        Ok((read, true))
    }

    /// Counts lines and quotation marks.
    fn count(&mut self, read: &[u8]) {
        for byte in read {
            match byte {
                b'\r' => self.next_line += 1,
                b'\n' if !self.is_after_return => self.next_line += 1,
                b'"' => self.quotes += 1,
                _ => {}
            }
            self.is_after_return = *byte == b'\r';
        }
    }

    /// The fields of the row that has come to its end, or none that are text.
    fn take_row(&mut self) -> Option<Vec<String>> {
        let (text_len, ends_len) = (std::mem::take(&mut self.text_len), std::mem::take(&mut self.ends_len));
        let ends = &self.ends[..ends_len];
        let begins = std::iter::once(0).chain(ends.iter().copied());
        let text = &self.text[..text_len];
        let field = |(begin, end): (usize, &usize)| String::from_utf8(text.get(begin..*end)?.to_vec()).ok();
        begins.zip(ends).map(field).collect()
    }

    fn add(
        &mut self,
        (number, text): (u64, Vec<u8>),
        row: Option<Vec<String>>,
        lines: &mut Vec<Line>,
    ) -> Result<(), ActivityError> {
        let Some(row) = row else {
            let problem = "is not in UTF-8: save the file as \"CSV UTF-8\"".to_owned();
            if self.names.is_none() {
                return Err(no_input(format!("line {number}: {problem}")));
            }
            lines.push(Line { number, text, row: Err(problem) });
            return Ok(());
        };
        let Some(names) = &self.names else {
            if row != SEPARATED_BY_COMMAS {
                self.names = Some(names_of(&row)?);
            }
            return Ok(());
        };
        // A spreadsheet writes rows of nothing below its last one.
        if row.iter().all(|field| field.trim().is_empty()) {
            return Ok(());
        }
        let row = match row.len() == names.len() {
            true => read(names, row),
            false => Err(format!("has {} columns, and the first row has {}", row.len(), names.len())),
        };
        lines.push(Line { number, text, row });
        Ok(())
    }
}

/// The name of a column: of those that say which entity a row is about, upper case letters are no others.
fn name_of(name: &str) -> String {
    OWN.into_iter().find(|own| own.eq_ignore_ascii_case(name)).unwrap_or(name).to_owned()
}

/// The names of columns, without the spaces around them.
fn names_of(row: &[String]) -> Result<Vec<String>, ActivityError> {
    let names: Vec<String> = row.iter().map(|name| name_of(name.trim())).collect();
    if let [one] = &names[..]
        && let Some(delimiter) = [';', '\t', '|'].into_iter().find(|delimiter| one.contains(*delimiter))
    {
        return Err(no_input(format!("the columns are separated by {delimiter:?}: save the file with commas")));
    }
    if let Some(place) = names.iter().position(String::is_empty) {
        return Err(no_input(format!("the column {} has no name in the first row", place + 1)));
    }
    if let Some(twice) = (1..names.len()).find(|place| names[..*place].contains(&names[*place])) {
        return Err(no_input(format!("two columns have the name '{}'", names[twice])));
    }
    if !names.iter().any(|name| name == "entity_id") {
        return Err(no_input(format!(
            "no column has the name 'entity_id'; the first row names the columns: {}",
            [SERVICE, TYPE, "entity_id", "operation_data"].join(", ")
        )));
    }
    Ok(names)
}

/// A row by its names. What is empty is left out; a cell that holds a JSON array or object is that.
fn read(names: &[String], row: Vec<String>) -> Result<Row, String> {
    let mut object = Map::new();
    for (name, cell) in names.iter().zip(row) {
        let trimmed = cell.trim();
        if trimmed.is_empty() {
            continue;
        }
        let is_json = trimmed.starts_with(['{', '[']);
        let value = match serde_json::from_str::<Value>(trimmed) {
            Ok(value) if is_json => value,
            Err(_) if name == "operation_data" => return Err("has an operation_data that is no JSON object".to_owned()),
            Ok(_) | Err(_) => Value::String(unprotect(cell)),
        };
        object.insert(name.clone(), value);
    }
    Ok(Row(object))
}
