//! JSON Lines: an object on each line.

use contracts::ActivityError;
use contracts::document::Document;
use serde_json::Value;

use super::row::Row;
use super::{Line, MAX_ROW_BYTES, Rows};

#[derive(Default)]
pub(super) struct JsonLines {
    /// The begin of a line whose end has not come.
    begun: Vec<u8>,
    /// Whether that line is too long to be kept.
    is_too_long: bool,
    /// Lines so far.
    lines: u64,
}

impl Rows for JsonLines {
    fn push(&mut self, bytes: &[u8], lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.add(&rest[..end]);
            self.end_line(lines);
            rest = &rest[end + 1..];
        }
        self.add(rest);
        Ok(())
    }

    fn finish(&mut self, lines: &mut Vec<Line>) -> Result<(), ActivityError> {
        self.end_line(lines);
        Ok(())
    }
}

impl JsonLines {
    fn add(&mut self, bytes: &[u8]) {
        self.is_too_long |= self.begun.len() + bytes.len() > MAX_ROW_BYTES;
        if !self.is_too_long {
            self.begun.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, lines: &mut Vec<Line>) {
        self.lines += 1;
        let (line, is_too_long) = (std::mem::take(&mut self.begun), std::mem::take(&mut self.is_too_long));
        if is_too_long {
            let row = Err(format!("has more than {MAX_ROW_BYTES} bytes"));
            lines.push(Line { number: self.lines, text: line, row });
        } else if !line.trim_ascii().is_empty() {
            let row = read(&line);
            lines.push(Line { number: self.lines, text: line, row });
        }
    }
}

fn read(line: &[u8]) -> Result<Row, String> {
    // The parser's words would quote the line, which may be personal.
    match Document::parse(line) {
        Ok(document) => match (document.value(), document.fields().finish()) {
            (Value::Object(object), Ok(())) => Ok(Row(object.clone())),
            (Value::Object(_), Err(repeated)) => {
                let pointers: Vec<&str> = repeated.iter().map(|bad| bad.pointer.as_str()).collect();
                Err(format!("has fields more than once: {}", pointers.join(", ")))
            }
            _ => Err("is no JSON object".to_owned()),
        },
        Err(error) if error.is_eof() => Err("is JSON that is cut off: each object must be on one line".to_owned()),
        Err(error) => Err(format!("is no JSON, at character {}", error.column())),
    }
}
