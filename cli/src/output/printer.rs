//! The two streams.

use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use super::{json, text};
use crate::error::CliError;
use crate::exit::Exit;

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    // For people.
    #[default]
    Table,
    // For programs: one document, its fields stable under their `schema`.
    Json,
    // The same document.
    Yaml,
}

/// Writes results to stdout and everything else to stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    /// In this format; `quiet` keeps hints and summaries off stderr, never warnings or errors.
    pub(crate) const fn new(format: Format, quiet: bool) -> Self {
        Self { format, quiet }
    }

    /// Whether results are documents for programs.
    pub(crate) const fn is_document(&self) -> bool {
        !matches!(self.format, Format::Table)
    }

    /// Whether a progress bar has somebody to look at it.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// The result, as the document of this kind.
    pub(crate) fn document<T: Serialize>(&self, kind: &'static str, body: &T) -> Result<(), CliError> {
        let text = match self.format {
            Format::Yaml => json::yaml_document(kind, body)?,
            Format::Json | Format::Table => json::document(kind, body)?,
        };
        self.bytes(text.as_bytes())
    }

    /// One of many results that come one by one: a document on a line (as YAML, one of a stream of them), or the text
    /// that `table` makes.
    pub(crate) fn event<T: Serialize>(
        &self,
        kind: &'static str,
        body: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        let text = match self.format {
            Format::Json => json::line(kind, body)?,
            Format::Yaml => format!("---\n{}", json::yaml_document(kind, body)?),
            Format::Table => table(body),
        };
        self.bytes(text.as_bytes())
    }

    /// The result as a document, or as the text that `table` makes.
    pub(crate) fn result<T: Serialize>(
        &self,
        kind: &'static str,
        body: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        match self.format {
            Format::Json | Format::Yaml => self.document(kind, body),
            Format::Table => self.text(&table(body)),
        }
    }

    /// A result for people. What comes from elsewhere in it is escaped already.
    pub(crate) fn text(&self, text: &str) -> Result<(), CliError> {
        self.bytes(text.as_bytes())
    }

    /// A result, byte for byte.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => CliError::ReaderGone,
            _ => CliError::Io { action: "write to", path: "stdout".into(), source: error },
        })
    }

    /// Tells more than was asked; silent with `--quiet`.
    pub(crate) fn hint(&self, message: &str) {
        if !self.quiet {
            write_stderr(&text::lines(message));
        }
    }

    /// Something to look at; not silenced.
    pub(crate) fn warn(&self, message: &str) {
        write_stderr(&format!("{} {}", paint("warning:", YELLOW), text::lines(message)));
    }

    /// Why the call failed, and the next thing to try.
    pub(crate) fn error(&self, exit: Exit, message: &str, next: Option<&str>) {
        match self.format {
            Format::Json => return write_stderr(&json::error_line(exit, message, next)),
            Format::Yaml => return write_stderr(&json::yaml_error(exit, message, next)),
            Format::Table => {}
        }
        write_stderr(&format!("{} {}", paint("error:", RED), text::lines(message)));
        if let Some(next) = next {
            write_stderr(&format!("{}  {}", paint("next:", CYAN), text::lines(next)));
        }
    }
}

const RED: u8 = 31;
const YELLOW: u8 = 33;
const CYAN: u8 = 36;

/// A bold coloured word where stderr is a terminal that wants colours (<https://no-color.org>).
fn paint(word: &str, colour: u8) -> String {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if unwanted || !io::stderr().is_terminal() {
        return word.to_owned();
    }
    format!("\x1b[1;{colour}m{word}\x1b[0m")
}

/// A stderr that cannot be written to has nobody to tell.
fn write_stderr(line: &str) {
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "{line}").ok();
}
