//! `stemedb get`: the bodies of assertions.

use std::io::{BufWriter, StdoutLock, Write};
use std::path::PathBuf;

use serde::Serialize;
use stemedb::rpc::{CallError, Which};
use stemedb::sync::Keys;
use stemedb::{AssertionId, Entry, LogIndex, StoreReader};

use super::failure::{Failure, OutputError};
use super::files::BodyFiles;
use super::input::{self, IdArg};
use super::peer::Remote;
use super::{Globals, decimal, open, output, peer, secret};

/// Print the bodies of assertions, verified against their ids
///
/// Prints the bytes of the bodies as they are, one behind the other, and nothing else, no line
/// ends either. With --out each body goes into a file of its own instead, and the names of the
/// files are printed. With --json it prints the facts about each body, one line each, after
/// verifying it just the same.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["ids", "index"]).required(true), after_help = "\
Examples:
  stemedb get 88538fbb                     The first 4 digits do if no other id begins so
  stemedb get 88538fbb > body
  stemedb get 88538fbb 8155ecc1 > both     One behind the other
  stemedb get --index 0 --index 7          By their place in the log
  stemedb get 88538fbb 8155ecc1 --out dir  As files, named by their ids
  stemedb get 88538fbb --from 127.0.0.1:7845
                                           From a served store, verified here

JSON, one line an id: {id, index, time, ntp64, len}, and file with --out")]
pub(super) struct Args {
    /// The ids: 64 hex digits each, or the first 4 or more of them
    #[arg(value_name = "ID", value_parser = IdArg::parse)]
    ids: Vec<IdArg>,
    /// The index of an entry of the log, instead of an id; may be given several times
    #[arg(long, value_name = "I", value_parser = input::number)]
    index: Vec<u64>,
    /// Write each body to a file in this directory, which is made where it is missing
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    out: Option<PathBuf>,
    #[command(flatten)]
    read: peer::ReadFrom,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    match args.read.connect()? {
        Some(remote) => get_from(&remote, args, globals),
        None => open::reading(globals, |store| get(store, args, globals)),
    }
}

fn get(store: &StoreReader, args: &Args, globals: &Globals) -> Result<(), Failure> {
    open::require_secret(store, globals)?;
    if !args.index.is_empty() {
        let indexes: Vec<_> = args.index.iter().copied().map(LogIndex).collect();
        let mut sink = BodySink::new(args, globals)?;
        for (index, found) in indexes.iter().zip(store.get_many_indexes(&indexes)) {
            let (entry, body) = found?.ok_or_else(|| no_entry(*index, store, globals))?;
            sink.take(&entry, &body)?;
        }
        return sink.finish();
    }
    let ids = args.ids.iter().map(|id| id.resolve(store)).collect::<Result<Vec<_>, _>>()?;
    let mut sink = BodySink::new(args, globals)?;
    for (id, body) in ids.iter().zip(store.get_many(&ids)) {
        let not_held = || Failure::NotHeld { id: *id, dir: globals.store.clone() };
        let body = body?.ok_or_else(not_held)?;
        if sink.wants_entries() {
            let entry = store.find(id)?.ok_or_else(not_held)?;
            sink.take(&entry, &body)?;
        } else {
            sink.take_body(*id, &body)?;
        }
    }
    sink.finish()
}

fn no_entry(index: LogIndex, store: &StoreReader, globals: &Globals) -> Failure {
    let dir = globals.store.clone();
    Failure::NoEntry { index, log_size: store.log_size(), dir }
}

fn get_from(remote: &Remote, args: &Args, globals: &Globals) -> Result<(), Failure> {
    let secret = globals.secret_file.as_deref().map(secret::read_bytes).transpose()?;
    let keys = Keys::new(secret.as_deref());
    let mut sink = BodySink::new(args, globals)?;
    let indexes = args.index.iter().map(|index| Which::Index(LogIndex(*index)));
    for which in args.ids.iter().map(Which::from).chain(indexes) {
        let found = match remote.wait(remote.client.get(&which, Some(&keys))) {
            Err(Failure::Call(CallError::WrongBody { id })) if secret.is_none() => {
                return Err(Failure::WrongBody { id });
            }
            found => found?,
        };
        let (entry, body) = found.ok_or_else(|| remote.not_there(&which))?;
        sink.take(&entry, &body)?;
    }
    sink.finish()
}

/// Takes bodies, and prints or writes them as the arguments say.
struct BodySink {
    out: BufWriter<StdoutLock<'static>>,
    files: Option<BodyFiles>,
    as_json: bool,
}

impl BodySink {
    fn new(args: &Args, globals: &Globals) -> Result<Self, Failure> {
        let files = args.out.as_deref().map(BodyFiles::in_dir).transpose()?;
        Ok(Self { out: output::stdout(), files, as_json: globals.json })
    }

    /// Whether the output is more than bodies.
    fn wants_entries(&self) -> bool {
        self.as_json
    }

    fn take(&mut self, entry: &Entry, body: &[u8]) -> Result<(), Failure> {
        if !self.as_json {
            return self.take_body(entry.id, body);
        }
        let file = self.files.as_ref().map(|files| files.write(&entry.id, body)).transpose()?;
        let file = file.map(|path| path.to_string_lossy().into_owned());
        output::json_line(&mut self.out, &Facts::new(entry, body.len(), file))
    }

    fn take_body(&mut self, id: AssertionId, body: &[u8]) -> Result<(), Failure> {
        if let Some(files) = &self.files {
            let path = files.write(&id, body)?;
            return output::line(&mut self.out, path.display());
        }
        self.out.write_all(body).map_err(OutputError)?;
        Ok(())
    }

    fn finish(self) -> Result<(), Failure> {
        output::finish(self.out)
    }
}

#[derive(Serialize)]
struct Facts {
    id: String,
    index: u64,
    time: String,
    #[serde(serialize_with = "decimal::string")]
    ntp64: u64,
    len: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl Facts {
    fn new(entry: &Entry, len: usize, file: Option<String>) -> Self {
        Self {
            id: entry.id.to_string(),
            index: entry.index.get(),
            time: entry.time.to_string(),
            ntp64: entry.time.as_ntp64(),
            len,
            file,
        }
    }
}
