//! Cells of CSV files that spreadsheets would take for formulas.
//!
//! A cell that begins with one of `= + - @`, a tab or a carriage return gets an apostrophe in front where a file is written,
//! and loses it where a file is read, so that what was read is what was written.

use std::borrow::Cow;

/// A cell as it is written.
fn protect(text: &str) -> Cow<'_, str> {
    if is_formula(text) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// A row as RFC 4180 has it, with no formulas.
pub(crate) fn row(fields: &[&str]) -> Vec<u8> {
    let mut row = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            row.push(b',');
        }
        let field = protect(field);
        match field.contains(['"', ',', '\n', '\r']) {
            true => row.extend(format!("\"{}\"", field.replace('"', "\"\"")).into_bytes()),
            false => row.extend(field.as_bytes()),
        }
    }
    row.extend(b"\r\n");
    row
}

/// A cell as it is meant, of one that was read.
pub(super) fn unprotect(cell: String) -> String {
    match cell.strip_prefix('\'') {
        Some(text) if is_formula(text) => text.to_owned(),
        _ => cell,
    }
}

/// Whether a spreadsheet might calculate it, or it would look like a protected cell.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let cases = [
            ("=1+1", "'=1+1"),
            ("+49 30", "'+49 30"),
            ("-5", "'-5"),
            ("@name", "'@name"),
            ("\tx", "'\tx"),
            ("'=1", "''=1"),
            ("''@", "'''@"),
            ("'tis", "'tis"),
            ("a=b", "a=b"),
            ("", ""),
        ];
        for (text, cell) in cases {
            assert_eq!(protect(text), cell);
            assert_eq!(unprotect(cell.to_owned()), text);
        }
    }
}
