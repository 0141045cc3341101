//! Standard output and standard error. A reader that goes away is no error: what is written afterwards goes nowhere, and a
//! command may look whether anybody still reads. Any other failure, such as a full device, is an error of the command.

use std::borrow::Cow;
use std::io::{BufWriter, ErrorKind, IsTerminal as _, Stdout, Write};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;

/// For whom a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned text for people.
    Text,
    /// One JSON document for programs.
    Json,
}

/// The option of everything that shows something.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// Text for people, or one JSON document for programs.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Format,
}

impl OutputArgs {
    /// Whether a program reads.
    pub(crate) fn is_json(self) -> bool {
        self.output == Format::Json
    }
}

/// Standard output.
pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
    is_closed: bool,
}

impl Output {
    /// The process's standard output.
    pub(crate) fn of_process() -> Self {
        Self { stdout: BufWriter::new(std::io::stdout()), is_closed: false }
    }

    /// Writes a line of text, or several.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> anyhow::Result<()> {
        let text = printable(text.as_ref());
        self.write(|stdout| writeln!(stdout, "{text}"))?;
        // People, and programs at the other end of a pipe, see it at once where it comes bit by bit.
        if self.stdout.get_ref().is_terminal() { self.flush() } else { Ok(()) }
    }

    /// Writes a JSON document.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(document)?;
        self.write(|stdout| writeln!(stdout, "{text}"))
    }

    /// Writes a JSON document on a line of its own, and hands it out at once.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn json_line(&mut self, document: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(document)?;
        self.write(|stdout| writeln!(stdout, "{text}"))?;
        self.flush()
    }

    /// Writes these bytes as they are.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.write(|stdout| stdout.write_all(bytes))
    }

    /// Hands out what has been written so far.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.write(|stdout| {
            stdout.flush()?;
            stdout.get_mut().flush()
        })
    }

    /// Whether nobody reads any more; known only after something was handed out.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> std::io::Result<()>) -> anyhow::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        match write(&mut self.stdout) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            written => written.context("cannot write to standard output"),
        }
    }
}

/// Writes a line to standard error. There is nobody to be told where that fails.
pub(crate) fn say(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text.as_ref()));
}

/// Writes what a server tells when it begins. It serves all the same where that cannot be written.
pub(crate) fn announce(text: impl AsRef<str>) {
    let mut output = Output::of_process();
    if let Err(error) = output.line(text).and_then(|()| output.flush()) {
        say(format!("{error:#}"));
    }
}

/// Text of others cannot move the cursor, colour a terminal, or change the direction in which a line is shown (Unicode
/// Standard Annex 9, section 2).
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_direction = |character: char| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_foreign =
        |character: char| character.is_control() && !matches!(character, '\n' | '\t') || is_direction(character);
    if text.contains(is_foreign) { text.replace(is_foreign, "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("\u{1b}[31mred\u{7}\r"), "\u{fffd}[31mred\u{fffd}\u{fffd}");
        assert_eq!(printable("a\u{202e}b\u{2066}\u{5d0}"), "a\u{fffd}b\u{fffd}\u{5d0}");
    }
}
