//! Printing: results to standard output, all else to standard error.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use bytesize::ByteSize;
use serde::Serialize;
use serde_json::json;
use stemedb::error::with_causes;
use stemedb::node::Status;

use super::failure::{Exit, Failure, OutputError};
use super::{advice, decimal, logging};

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Whether messages are JSON, as results are.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Says whether messages are JSON from now on.
pub(super) fn set_json(as_json: bool) {
    AS_JSON.store(as_json, Ordering::Relaxed);
}

/// Standard output, buffered. Call [`finish`] at the end: a failure to write is a failure.
pub(super) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

/// Writes out what is buffered.
pub(super) fn finish(mut out: impl Write) -> Result<(), Failure> {
    out.flush().map_err(OutputError)?;
    Ok(())
}

/// Prints bytes as they are, and nothing else.
pub(super) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = stdout();
    out.write_all(bytes).map_err(OutputError)?;
    finish(out)
}

/// Prints one object as one line.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = stdout();
    json_line(&mut out, value)?;
    finish(out)
}

/// Fields of a status whose numbers count bytes.
const STATUS_BYTES: [&str; 7] = [
    "bytes_sent",
    "bytes_received",
    "bytes_compared",
    "bytes_transferred",
    "free",
    "total",
    "reserve",
];

/// Prints the status of a node as one line.
pub(super) fn status(status: &Status) -> Result<(), Failure> {
    json(&decimal::within(status, &STATUS_BYTES).map_err(|error| OutputError(error.into()))?)
}

/// Prints the facts of a result: as one object, or as rows.
pub(super) fn facts(
    as_json: bool,
    fields: &impl Serialize,
    rows: &[(&str, String)],
) -> Result<(), Failure> {
    if as_json { json(fields) } else { raw(table(rows).as_bytes()) }
}

/// Writes one object as one line.
pub(super) fn json_line(mut out: impl Write, value: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer(&mut out, value).map_err(|error| OutputError(error.into()))?;
    writeln!(out).map_err(OutputError)?;
    Ok(())
}

/// Writes something as one line.
pub(super) fn line(mut out: impl Write, text: impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(out, "{text}").map_err(OutputError)?;
    Ok(())
}

/// Lays out names and values in two columns, values aligned.
pub(super) fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> =
        rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect();
    lines.concat()
}

/// Prints text to standard error as it is.
pub(super) fn stderr(text: &str) {
    // Nobody is left to tell if standard error is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says something beside the result, on standard error.
pub(super) fn note(text: impl std::fmt::Display) {
    let text = text.to_string();
    if AS_JSON.load(Ordering::Relaxed) && !logging::is_json() {
        return stderr(&format!("{}\n", json!({ "note": text })));
    }
    say("note", YELLOW, &text);
}

/// Says why the command failed, with all its causes.
pub(super) fn error(failure: &Failure) {
    let text = match advice::after(failure) {
        Some(advice) => format!("{}; {advice}", with_causes(failure)),
        None => with_causes(failure),
    };
    if AS_JSON.load(Ordering::Relaxed) && !logging::is_json() {
        return error_object(&text, failure.exit());
    }
    say("error", RED, &text);
}

/// Says as JSON what is wrong with the arguments.
pub(super) fn usage_error(error: &clap::Error) {
    let text = error.render().to_string();
    error_object(text.trim_end().trim_start_matches("error: "), Exit::Usage);
}

fn error_object(text: &str, exit: Exit) {
    stderr(&format!("{}\n", json!({ "error": text, "exit_code": exit as u8 })));
}

/// A heading, bold where a person sees it.
pub(super) fn heading(text: &str, terminal: bool) -> String {
    if terminal && logging::colours() { format!("{BOLD}{text}{PLAIN}") } else { text.to_owned() }
}

fn say(label: &str, colour: &str, text: &str) {
    // Beside a log for programs, a line for people would be one that they can't read.
    if logging::is_json() && tracing::enabled!(tracing::Level::ERROR) {
        if label == "error" {
            tracing::error!("{text}");
        } else {
            tracing::warn!("{text}");
        }
        return;
    }
    let mut err = io::stderr().lock();
    // Nobody is left to tell if standard error is closed.
    let _ = if err.is_terminal() && logging::colours() {
        writeln!(err, "{colour}{label}:{PLAIN} {text}")
    } else {
        writeln!(err, "{label}: {text}")
    };
}

/// A count of bytes as people read it.
pub(super) fn bytes(count: u64) -> String {
    ByteSize(count).display().iec().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes(5 << 20), "5.0 MiB");
        assert_eq!(bytes(u64::MAX), "16.0 EiB");
    }

    #[test]
    fn a_table_is_aligned() {
        let rows = [("a", "1".to_owned()), ("long", "2".to_owned())];
        assert_eq!(table(&rows), "a     1\nlong  2\n");
    }
}
