//! Items in a file: arrays of JSON, JSON Lines and CSV, decoded as the bytes come in, so that a file of any length
//! takes little memory.
//!
//! What AWS makes of odd files is recorded: every cell of CSV is a string, missing cells are empty, cells without a
//! header are dropped, and a line of blanks is an item.

use std::collections::VecDeque;
use std::fmt;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Text of one item at most. AWS reads none larger than a payload; this much is only kept to say so of the right item.
const MAX_ITEM_BYTES: usize = 8 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a file holds items.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ItemFormat {
    /// A JSON array.
    Json,
    /// A JSON value on each line.
    JsonLines,
    /// Values separated by a character, an object for each line.
    Csv {
        /// The columns' names; those of the first line unless given.
        headers: Option<Vec<String>>,
        /// What separates values.
        delimiter: u8,
    },
}

/// Where the items of a Map are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemSource {
    /// The reader's `Resource`.
    pub resource: String,
    /// Its `Arguments`: `Bucket` and `Key`.
    pub arguments: Value,
    /// How they are written there.
    pub format: ItemFormat,
    /// No more than so many; 0 means all.
    pub max_items: u64,
}

/// Items cannot be read; the cause that the Map fails with, as `States.ItemReaderFailed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemsError(String);

impl ItemsError {
    /// The name of the error.
    pub const NAME: &'static str = "States.ItemReaderFailed";
}

impl fmt::Display for ItemsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ItemsError {}

/// Turns the bytes of a file into items.
///
/// Push bytes, poll items until there are none, and so on; after the last bytes [`ItemDecoder::finish`], and poll again.
pub struct ItemDecoder {
    format: Format,
    items: VecDeque<Value>,
    /// How many more are wanted.
    wanted: u64,
    /// Bytes of a byte order mark that came; none once the file itself has begun.
    mark: Option<usize>,
}

enum Format {
    Json(JsonArray),
    JsonLines(Vec<u8>),
    Csv(Csv),
}

impl ItemDecoder {
    /// Begins a file.
    ///
    /// # Errors
    /// Declared headers that no item can have.
    pub fn new(source: &ItemSource) -> Result<Self, ItemsError> {
        let format = match &source.format {
            ItemFormat::Json => Format::Json(JsonArray::default()),
            ItemFormat::JsonLines => Format::JsonLines(Vec::new()),
            ItemFormat::Csv { headers, delimiter } => Format::Csv(Csv::new(headers.as_deref(), *delimiter)?),
        };
        let wanted = if source.max_items == 0 { u64::MAX } else { source.max_items };
        Ok(Self { format, items: VecDeque::new(), wanted, mark: Some(0) })
    }

    /// Takes the next bytes of the file.
    ///
    /// # Errors
    /// The file is not what it should be.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), ItemsError> {
        while let Some(seen) = self.mark {
            let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
            if BYTE_ORDER_MARK.get(seen) == Some(first) {
                bytes = rest;
                self.mark = Some(seen + 1);
                continue;
            }
            self.mark = None;
            if seen < BYTE_ORDER_MARK.len() {
                self.decode(&BYTE_ORDER_MARK[..seen])?;
            }
        }
        self.decode(bytes)
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<(), ItemsError> {
        if self.is_done() || bytes.is_empty() {
            return Ok(());
        }
        match &mut self.format {
            Format::Json(array) => array.push(bytes, &mut self.items),
            Format::JsonLines(line) => push_lines(line, bytes, &mut self.items),
            Format::Csv(csv) => csv.push(bytes, &mut self.items),
        }
    }

    /// The file is over.
    ///
    /// # Errors
    /// It is not complete.
    pub fn finish(&mut self) -> Result<(), ItemsError> {
        if self.is_done() {
            return Ok(());
        }
        match &mut self.format {
            Format::Json(array) => array.finish(),
            Format::JsonLines(line) => push_lines(line, b"\n", &mut self.items),
            Format::Csv(csv) => csv.push(&[], &mut self.items),
        }
    }

    /// The next item, if its bytes have been pushed.
    pub fn poll_item(&mut self) -> Option<Value> {
        if self.is_done() {
            return None;
        }
        let item = self.items.pop_front()?;
        self.wanted -= 1;
        Some(item)
    }

    /// Whether as many items came as were wanted: the rest of the file is of no interest.
    pub fn is_done(&self) -> bool {
        self.wanted == 0
    }
}

/// One array, split into its elements.
#[derive(Default)]
struct JsonArray {
    place: Place,
    element: Vec<u8>,
    depth: usize,
    is_text: bool,
    is_escaped: bool,
}

#[derive(Default, PartialEq)]
enum Place {
    #[default]
    Before,
    /// Behind the opening bracket: the array may still be empty.
    First,
    Element,
    After,
}

impl JsonArray {
    fn push(&mut self, bytes: &[u8], items: &mut VecDeque<Value>) -> Result<(), ItemsError> {
        for &byte in bytes {
            match self.place {
                Place::Before if byte.is_ascii_whitespace() => {}
                Place::Before if byte == b'[' => self.place = Place::First,
                Place::Before => return Err(ItemsError("Attempting to map over non-iterable node.".to_owned())),
                Place::First if byte.is_ascii_whitespace() => {}
                Place::First if byte == b']' => self.place = Place::After,
                Place::First => {
                    self.place = Place::Element;
                    self.element(byte, items)?;
                }
                Place::Element => self.element(byte, items)?,
                Place::After if byte.is_ascii_whitespace() => {}
                Place::After => return Err(not_json("there is more behind the array")),
            }
        }
        Ok(())
    }

    fn element(&mut self, byte: u8, items: &mut VecDeque<Value>) -> Result<(), ItemsError> {
        if self.is_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_text = false,
                _ => {}
            }
            return keep(&mut self.element, &[byte]);
        }
        match byte {
            b'"' => self.is_text = true,
            b'[' | b'{' => self.depth += 1,
            b']' | b',' if self.depth == 0 => {
                items.push_back(parse(&self.element)?);
                self.element.clear();
                if byte == b']' {
                    self.place = Place::After;
                }
                return Ok(());
            }
            b']' | b'}' => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| not_json("a bracket that nothing opens"))?;
            }
            _ => {}
        }
        keep(&mut self.element, &[byte])
    }

    fn finish(&self) -> Result<(), ItemsError> {
        if self.place == Place::After { Ok(()) } else { Err(not_json("the array does not end")) }
    }
}

/// Lines without anything on them are none.
fn push_lines(line: &mut Vec<u8>, bytes: &[u8], items: &mut VecDeque<Value>) -> Result<(), ItemsError> {
    let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
    while let Some(part) = parts.next() {
        keep(line, part)?;
        if parts.peek().is_some() {
            if !line.trim_ascii().is_empty() {
                items.push_back(parse(line)?);
            }
            line.clear();
        }
    }
    Ok(())
}

struct Csv {
    reader: Box<Reader>,
    headers: Option<Vec<String>>,
    record: Vec<u8>,
    ends: Vec<usize>,
    /// How much of the record is there.
    filled: usize,
    fields: usize,
}

impl Csv {
    fn new(headers: Option<&[String]>, delimiter: u8) -> Result<Self, ItemsError> {
        Ok(Self {
            reader: Box::new(ReaderBuilder::new().delimiter(delimiter).build()),
            headers: headers.map(|headers| unequal(headers.to_vec())).transpose()?,
            record: vec![0; 1024],
            ends: vec![0; 32],
            filled: 0,
            fields: 0,
        })
    }

    /// No bytes mean the end.
    fn push(&mut self, mut bytes: &[u8], items: &mut VecDeque<Value>) -> Result<(), ItemsError> {
        let is_end = bytes.is_empty();
        loop {
            let (record, ends) = (&mut self.record[self.filled..], &mut self.ends[self.fields..]);
            let (result, read, wrote, ended) = self.reader.read_record(bytes, record, ends);
            bytes = &bytes[read..];
            self.filled += wrote;
            self.fields += ended;
            match result {
                ReadRecordResult::InputEmpty if is_end => {}
                ReadRecordResult::InputEmpty => return Ok(()),
                ReadRecordResult::OutputFull if self.record.len() >= MAX_ITEM_BYTES => return Err(too_large()),
                ReadRecordResult::OutputFull => self.record.resize(self.record.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= MAX_ITEM_BYTES => return Err(too_large()),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    let cells = self.cells()?;
                    match &self.headers {
                        Some(headers) => items.push_back(row(headers, cells)),
                        // Of columns with the same name, the last one is it.
                        None => self.headers = Some(cells),
                    }
                }
                ReadRecordResult::End => return Ok(()),
            }
        }
    }

    /// The cells of a record that is complete; the next one begins.
    fn cells(&mut self) -> Result<Vec<String>, ItemsError> {
        let mut begin = 0;
        let mut cells = Vec::with_capacity(self.fields);
        for &end in &self.ends[..self.fields] {
            let text = std::str::from_utf8(&self.record[begin..end]);
            cells.push(text.map_err(|_| ItemsError("The file is not UTF-8.".to_owned()))?.to_owned());
            begin = end;
        }
        (self.filled, self.fields) = (0, 0);
        Ok(cells)
    }
}

fn row(headers: &[String], cells: Vec<String>) -> Value {
    let cells = cells.into_iter().map(Value::String).chain(std::iter::repeat(Value::String(String::new())));
    Value::Object(headers.iter().cloned().zip(cells).collect::<Map<_, _>>())
}

fn unequal(headers: Vec<String>) -> Result<Vec<String>, ItemsError> {
    let mut sorted: Vec<_> = headers.iter().collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(ItemsError("CSV headers cannot contain duplicates.".to_owned()));
    }
    Ok(headers)
}

fn keep(buffer: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ItemsError> {
    if buffer.len() + bytes.len() > MAX_ITEM_BYTES {
        return Err(too_large());
    }
    buffer.extend_from_slice(bytes);
    Ok(())
}

fn parse(text: &[u8]) -> Result<Value, ItemsError> {
    serde_json::from_slice(text).map_err(|error| not_json(&error.to_string()))
}

fn not_json(what: &str) -> ItemsError {
    ItemsError(format!("The file cannot be read as JSON: {what}."))
}

fn too_large() -> ItemsError {
    ItemsError(format!("An item is longer than {MAX_ITEM_BYTES} bytes."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Decoded in one go and byte by byte: where a file is cut makes no difference.
    fn read(format: ItemFormat, max_items: u64, text: &str) -> Result<Vec<Value>, String> {
        let source = ItemSource { resource: String::new(), arguments: Value::Null, format, max_items };
        let read = |size: usize| {
            let mut decoder = ItemDecoder::new(&source)?;
            let mut items = Vec::new();
            for bytes in text.as_bytes().chunks(size) {
                decoder.push(bytes)?;
                items.extend(std::iter::from_fn(|| decoder.poll_item()));
            }
            decoder.finish()?;
            items.extend(std::iter::from_fn(|| decoder.poll_item()));
            Ok(items)
        };
        let (whole, cut) = (read(usize::MAX), read(1));
        assert_eq!(whole, cut, "{text}");
        whole.map_err(|error: ItemsError| error.to_string())
    }

    fn csv(headers: &[&str]) -> ItemFormat {
        let headers = headers.iter().map(|header| (*header).to_owned()).collect::<Vec<_>>();
        ItemFormat::Csv { headers: (!headers.is_empty()).then_some(headers), delimiter: b',' }
    }

    #[test]
    fn an_array_is_split_into_its_elements() {
        let text = r#" [1, "a]\",", {"b": [2, {"c": "]"}]} , [ ] ,null] "#;
        let items = [json!(1), json!("a]\","), json!({"b": [2, {"c": "]"}]}), json!([]), json!(null)];
        assert_eq!(read(ItemFormat::Json, 0, text), Ok(items.to_vec()));
        assert_eq!(read(ItemFormat::Json, 2, text), Ok(items[..2].to_vec()));
        // What comes behind the last item that is wanted may be anything.
        assert_eq!(read(ItemFormat::Json, 1, "[1, oh"), Ok(vec![json!(1)]));
        assert_eq!(read(ItemFormat::Json, 0, "[]"), Ok(vec![]));
        for text in ["", "[", "[1", "[1,]", "[,1]", "[1}", "[1] 2", "[oh]", "[\"a", "[{]}]"] {
            assert!(
                read(ItemFormat::Json, 0, text).unwrap_err().starts_with("The file cannot be read as JSON"),
                "{text}"
            );
        }
        for text in ["{}", "1", "\"[]\""] {
            assert_eq!(read(ItemFormat::Json, 0, text), Err("Attempting to map over non-iterable node.".to_owned()));
        }
    }

    #[test]
    fn every_line_that_is_not_empty_is_an_item() {
        let text = "{\"a\": 1}\r\n\n  \n[2]\n\"three\"";
        let items = [json!({"a": 1}), json!([2]), json!("three")];
        assert_eq!(read(ItemFormat::JsonLines, 0, text), Ok(items.to_vec()));
        assert_eq!(read(ItemFormat::JsonLines, 2, text), Ok(items[..2].to_vec()));
        assert!(read(ItemFormat::JsonLines, 0, "1\n{\n").is_err());
    }

    #[test]
    fn cells_are_strings_and_every_header_has_one() {
        let rows = [json!({"a": "1", "b": "two, or \"2\""}), json!({"a": "", "b": ""}), json!({"a": "x", "b": ""})];
        assert_eq!(read(csv(&["a", "b"]), 0, "1,\"two, or \"\"2\"\"\",3\r\n,,,\nx"), Ok(rows.to_vec()));
        assert_eq!(read(csv(&[]), 0, "\u{feff}a,b\n1,2\n"), Ok(vec![json!({"a": "1", "b": "2"})]));
        assert_eq!(read(csv(&[]), 0, ""), Ok(vec![]));
        // Only those declared: a first row may be anything.
        assert_eq!(read(csv(&["a", "a"]), 0, "1"), Err("CSV headers cannot contain duplicates.".to_owned()));
        for (text, row) in [("a,a\n1,2", json!({"a": "2"})), (",\n1,2", json!({"": "2"}))] {
            assert_eq!(read(csv(&[]), 0, text), Ok(vec![row]));
        }
    }

    #[test]
    fn an_item_has_a_limit() {
        let long = "x".repeat(MAX_ITEM_BYTES + 1);
        let source = |format| ItemSource { resource: String::new(), arguments: Value::Null, format, max_items: 0 };
        for (format, before) in [(ItemFormat::Json, "[\""), (ItemFormat::JsonLines, ""), (csv(&["a"]), "")] {
            let mut decoder = ItemDecoder::new(&source(format)).unwrap();
            decoder.push(before.as_bytes()).unwrap();
            assert_eq!(decoder.push(long.as_bytes()), Err(too_large()));
        }
    }
}
