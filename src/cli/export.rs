//! `stemedb export`: all bodies, in forms that other programs read.

mod remote;

use std::io::{BufWriter, StdoutLock, Write};
use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::ValueEnum;
use indicatif::ProgressBar;
use serde::Serialize;
use stemedb::{Entry, InternalError};

use super::body_id::BodyHasher;
use super::failure::{Failure, OutputError};
use super::files::BodyFiles;
use super::log::EntryFields;
use super::range::RangeArgs;
use super::{Globals, input, open, output, peer, progress};

/// Print all bodies in the order of the log, verified against their ids
///
/// As jsonl, which takes any bodies, each line has index, time and id of an entry, and its body:
/// as body where it is UTF-8 text, else as base64. As lines or nul, bodies are ended by line ends
/// or NUL bytes, for `append` and `append -0` to read; a body that has such bytes in it, or none at
/// all, ends the command with an error. As files, each body is a file of its own.
///
/// A body that is lost or damaged is left out and reported; the exit code is 3 then.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb export > all.jsonl
  stemedb export --format lines --since 2026-11-30
  stemedb export --format nul | stemedb append -0 --store other
  stemedb export --format files --out dir
  stemedb export --from 127.0.0.1:7845 > all.jsonl

JSON is the format jsonl: {index, time, ntp64, id, len, body}, or base64 in place of body; without \
both and with \"hole\": true where the body is lost. With --format files: {index, time, ntp64, id, \
len, file}")]
pub(super) struct Args {
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// The directory of the files, which is made where it is missing
    #[arg(
        long,
        value_name = "DIR",
        required_if_eq("format", "files"),
        value_hint = clap::ValueHint::DirPath
    )]
    out: Option<PathBuf>,
    #[command(flatten)]
    range: RangeArgs,
    #[command(flatten)]
    read: peer::ReadFrom,
}

/// The form of bodies outside of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line each
    Lines,
    /// A NUL byte behind each
    Nul,
    /// A line of JSON each, with index, time and id
    Jsonl,
    /// A file each, named by its id
    Files,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    if args.out.is_some() && args.format != Format::Files {
        return Err(Failure::OutWithoutFiles);
    }
    if let Some(remote) = args.read.connect()? {
        let hasher = BodyHasher::without_store(globals)?;
        let mut exporter = Exporter::new(args, globals)?;
        remote::export(&remote, &args.range, hasher, &mut exporter)?;
        return exporter.finish(&remote.client.peer().to_string());
    }
    open::reading(globals, |store| {
        open::require_secret(store, globals)?;
        let range = args.range.of(store)?;
        let mut exporter = Exporter::new(args, globals)?;
        exporter.bar.set_length(range.end.get().saturating_sub(range.start.get()));
        for record in store.records(range, input::BODY_LEN_MAX as usize) {
            match record {
                Ok((entry, body)) => exporter.take(&entry, body.as_deref())?,
                Err(error) if error.is_damage() => exporter.note_damage(&error),
                Err(error) => return Err(error.into()),
            }
        }
        exporter.finish(&store.dir().display().to_string())
    })
}

/// Writes bodies in one of the formats.
struct Exporter {
    format: Format,
    out: BufWriter<StdoutLock<'static>>,
    files: Option<BodyFiles>,
    as_json: bool,
    /// Bodies that are lost or damaged.
    lost: u64,
    bar: ProgressBar,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    entry: EntryFields,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl Exporter {
    fn new(args: &Args, globals: &Globals) -> Result<Self, Failure> {
        let files = args.out.as_deref().map(BodyFiles::in_dir).transpose()?;
        let (format, as_json) = (args.format, globals.json);
        let (out, bar) = (output::stdout(), progress::printing("exporting"));
        Ok(Self { format, out, files, as_json, lost: 0, bar })
    }

    fn take(&mut self, entry: &Entry, body: Option<&[u8]>) -> Result<(), Failure> {
        self.bar.inc(1);
        let Some(body) = body else {
            self.lost += 1;
            output::note(format_args!("entry {}: the body of {} is lost", entry.index, entry.id));
            if self.format == Format::Jsonl || self.format == Format::Files && self.as_json {
                return self.line(entry, None, None);
            }
            return Ok(());
        };
        match self.format {
            Format::Lines => self.ended(entry, body, b'\n'),
            Format::Nul => self.ended(entry, body, 0),
            Format::Jsonl => self.line(entry, Some(body), None),
            Format::Files => self.file(entry, body),
        }
    }

    fn ended(&mut self, entry: &Entry, body: &[u8], end: u8) -> Result<(), Failure> {
        if body.is_empty() || memchr::memchr(end, body).is_some() {
            let format = if end == 0 { "nul" } else { "lines" };
            return Err(Failure::NotInFormat { index: entry.index, id: entry.id, format });
        }
        self.out.write_all(body).and_then(|()| self.out.write_all(&[end])).map_err(OutputError)?;
        Ok(())
    }

    fn line(
        &mut self,
        entry: &Entry,
        body: Option<&[u8]>,
        file: Option<String>,
    ) -> Result<(), Failure> {
        let text = body.map(std::str::from_utf8);
        let base64 = match (text, body) {
            (Some(Err(_)), Some(body)) => Some(STANDARD.encode(body)),
            _ => None,
        };
        let body = text.and_then(Result::ok);
        let line = Line { entry: entry.into(), body, base64, file };
        output::json_line(&mut self.out, &line)
    }

    fn file(&mut self, entry: &Entry, body: &[u8]) -> Result<(), Failure> {
        let Some(files) = &self.files else {
            return Err(InternalError::new("the directory for the files").into());
        };
        let path = files.write(&entry.id, body)?;
        if self.as_json {
            return self.line(entry, None, Some(path.to_string_lossy().into_owned()));
        }
        output::line(&mut self.out, path.display())
    }

    fn note_damage(&mut self, error: &dyn std::error::Error) {
        self.lost += 1;
        self.bar.inc(1);
        self.bar.suspend(|| output::note(stemedb::error::with_causes(error)));
    }

    fn finish(self, store: &str) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        output::finish(self.out)?;
        if self.lost > 0 {
            return Err(Failure::NotExported { store: store.to_owned(), lost: self.lost });
        }
        Ok(())
    }
}
