//! The log of a node, on standard error: lines for people or for programs.
//!
//! Nothing that a peer says reaches a terminal as it is: control characters in messages and fields
//! are written as their numbers. Of other crates only warnings are shown, however much is asked
//! for.

use std::fmt::{self, Debug, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use stemedb::node::config::{LogFormat, LogLevel};
use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry};

use super::plain::is_harmful;

/// Whether standard error takes objects only.
static AS_JSON: AtomicBool = AtomicBool::new(false);

/// The log, whose level can change.
#[derive(Debug)]
pub(super) struct Logging {
    level: Handle<Targets, Registry>,
}

impl Logging {
    /// Starts to log. There is one log in a process.
    pub(super) fn start(format: LogFormat, level: LogLevel) -> Result<Self, TryInitError> {
        let (filter, handle) = reload::Layer::new(targets(level));
        let registry = tracing_subscriber::registry();
        match format {
            LogFormat::Human => {
                let lines = tracing_subscriber::fmt::layer()
                    .with_ansi(io::stderr().is_terminal() && colours())
                    .with_target(false)
                    .fmt_fields(debug_fn(field))
                    .with_writer(io::stderr);
                registry.with(lines.with_filter(filter)).try_init()?;
            }
            LogFormat::Json => {
                let lines = tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(|| Plain(io::stderr()));
                registry.with(lines.with_filter(filter)).try_init()?;
                AS_JSON.store(true, Ordering::Relaxed);
            }
        }
        Ok(Self { level: handle })
    }

    /// Logs this from now on.
    pub(super) fn set(&self, level: LogLevel) {
        // The log lasts as long as the process.
        let _ = self.level.reload(targets(level));
    }
}

/// Whether lines for people would be out of place on standard error.
pub(super) fn is_json() -> bool {
    AS_JSON.load(Ordering::Relaxed)
}

/// Whether colours are wanted at all, by the convention of no-color.org.
pub(super) fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_target("stemedb", level).with_default(level.min(LevelFilter::WARN))
}

/// Writes one field, the message first and without its name.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    if field.name() == "message" {
        return write!(Escaping(writer), "{value:?} ");
    }
    write!(writer, "{}=", field.name())?;
    write!(Escaping(writer), "{value:?} ")
}

/// Writes harmful characters as their numbers.
struct Escaping<'a, 'b>(&'a mut Writer<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(is_harmful) {
            match part.char_indices().next_back() {
                Some((at, last)) if is_harmful(last) => {
                    let (before, _) = part.split_at(at);
                    write!(self.0, "{before}{}", last.escape_unicode())?;
                }
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Writes lines of JSON, in which control characters above those that JSON escapes are escaped too.
struct Plain<W>(W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let mut plain = String::with_capacity(line.len());
        for c in line.chars() {
            if c == '\n' || !is_harmful(c) {
                plain.push(c);
            } else {
                // They stand in texts only, where JSON takes them so.
                let _ = write!(plain, "\\u{:04x}", u32::from(c));
            }
        }
        self.0.write_all(plain.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const BAD: &str = "\x1b[2J\u{9b}1m\x7f\r\n\u{202e}end";

    fn say() {
        tracing::info!(peer = %BAD, quoted = BAD, "it says {BAD}");
    }

    fn assert_harmless(line: &str) {
        let (line, rest) = line.split_once('\n').unwrap();
        assert_eq!(rest, "", "one event, one line");
        assert!(line.contains("it says") && line.contains("end"), "{line}");
        assert!(!line.contains(is_harmful), "{line:?}");
    }

    #[test]
    fn a_line_for_people_has_nothing_that_a_terminal_obeys() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_target(false)
            .fmt_fields(debug_fn(field))
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let line = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_harmless(&line);
        assert!(line.contains(" INFO it says \\u{1b}[2J"), "{line}");
        assert!(line.contains(" peer=\\u{1b}[2J"), "{line}");
    }

    #[test]
    fn a_line_for_programs_has_none_either_and_loses_nothing() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(move || Plain(writer.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let line = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert_harmless(&line);
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["peer"], BAD);
        assert_eq!(event["message"], format!("it says {BAD}"));
        assert_eq!(event["level"], "INFO");
    }

    #[test]
    fn other_crates_are_quiet_and_the_level_holds() {
        use tracing::Level;
        for (level, ours, theirs) in [
            (LogLevel::Off, None, None),
            (LogLevel::Error, Some(Level::ERROR), Some(Level::ERROR)),
            (LogLevel::Info, Some(Level::INFO), Some(Level::WARN)),
            (LogLevel::Trace, Some(Level::TRACE), Some(Level::WARN)),
        ] {
            let targets = targets(level);
            let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
            let most =
                |target| levels.into_iter().find(|level| targets.would_enable(target, level));
            assert_eq!(most("stemedb::node"), ours, "{level:?}");
            assert_eq!(most("h2::proto"), theirs, "{level:?}");
        }
    }
}
