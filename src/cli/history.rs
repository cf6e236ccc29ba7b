//! `stemedb history`: proofs of what the log recorded, and that it only grew.

use serde::Serialize;
use stemedb::rpc::Which;
use stemedb::rpc::history::{Grown, Included};
use stemedb::{InternalError, LogIndex, LogSize, Root, StoreReader};

use super::failure::Failure;
use super::format::grouped;
use super::input::{self, IdArg, to_hex};
use super::{Globals, decimal, open, output, peer};

/// Prove that the log recorded an entry, or that it only grew
///
/// The log root commits to every entry, its time and its place (RFC 9162). Proofs are checked
/// before they are printed; against a root that you noted earlier where you give one, and exit code
/// 3 says that the log is not the one of that root.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb history inclusion 88538fbb
  stemedb history inclusion --index 7 --size 100 --root HEX
  stemedb history consistency 100 --old-root HEX
                                   Whether the log still begins with its first 100 entries
  stemedb history consistency 100 --old-root HEX --from 127.0.0.1:7845")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Inclusion(InclusionArgs),
    Consistency(ConsistencyArgs),
}

/// Prove that an entry is in the log, when it came and at which place
///
/// Of an assertion that was lost and restored, the entry is the one of the first time.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["id", "index"]).required(true), after_help = "\
Examples:
  stemedb history inclusion 88538fbb
  stemedb history inclusion --index 7 --size 100 --root HEX

JSON: {index, time, ntp64, id, log_size, log_root, hashes}; hashes are those of RFC 9162, section \
2.1.3, from the leaf up; the leaf is SHA-256 of a byte 0, ntp64 as 8 bytes big-endian, and the id")]
struct InclusionArgs {
    /// The id: 64 hex digits, or the first 4 or more of them
    #[arg(value_name = "ID", value_parser = IdArg::parse)]
    id: Option<IdArg>,
    /// The index of the entry, instead of the id
    #[arg(long, value_name = "I", value_parser = input::number)]
    index: Option<u64>,
    /// The size of the log that the proof is for; without it that of now
    #[arg(long, value_name = "N", value_parser = input::number)]
    size: Option<u64>,
    /// The log root of that size that you trust: 64 hex digits
    #[arg(long, value_name = "HEX", requires = "size", value_parser = input::root)]
    root: Option<Root>,
    #[command(flatten)]
    read: peer::ReadFrom,
}

/// Prove that the log only grew: that it still begins with the entries that it had
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb history consistency 100
  stemedb history consistency 100 --old-root HEX
  stemedb history consistency 100 200 --old-root HEX --root HEX

JSON: {old_size, old_root, new_size, new_root, hashes}; hashes are those of RFC 9162, section \
2.1.4")]
struct ConsistencyArgs {
    /// The size that the log had
    #[arg(value_name = "OLD", value_parser = input::number)]
    old: u64,
    /// The size that it had later; without it that of now
    #[arg(value_name = "NEW", value_parser = input::number)]
    new: Option<u64>,
    /// The log root of the old size that you trust: 64 hex digits
    #[arg(long, value_name = "HEX", value_parser = input::root)]
    old_root: Option<Root>,
    /// The log root of the new size that you trust: 64 hex digits
    #[arg(long, value_name = "HEX", requires = "new", value_parser = input::root)]
    root: Option<Root>,
    #[command(flatten)]
    read: peer::ReadFrom,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    match &args.what {
        What::Inclusion(args) => inclusion(args, globals),
        What::Consistency(args) => consistency(args, globals),
    }
}

fn inclusion(args: &InclusionArgs, globals: &Globals) -> Result<(), Failure> {
    let size = args.size.map(LogSize);
    let included = match args.read.connect()? {
        Some(remote) => {
            let index = match (args.index, &args.id) {
                (Some(index), _) => LogIndex(index),
                (None, Some(id)) => remote.find(&Which::from(id))?.index,
                (None, None) => return Err(InternalError::new("the entry to prove").into()),
            };
            remote.wait(remote.client.prove_inclusion(index, size))?
        }
        None => open::reading(globals, |store| {
            Ok(Included::of(store, index_here(args, store, globals)?, size)?)
        })?,
    };
    // A server's proof was checked already; here it is a check of the own files.
    included.verify().map_err(|source| Failure::WrongHistory { source })?;
    trusted(args.root, included.head.size, included.head.root)?;
    let Included { entry, head, proof } = included;
    let fields = InclusionFields {
        index: entry.index.get(),
        time: entry.time.to_string(),
        ntp64: entry.time.as_ntp64(),
        id: entry.id.to_string(),
        log_size: head.size.get(),
        log_root: head.root.to_string(),
        hashes: proof.0.iter().map(to_hex).collect(),
    };
    let mut rows = vec![
        ("index", grouped(entry.index.get())),
        ("time", entry.time.to_string()),
        ("id", entry.id.to_string()),
        ("log size", grouped(head.size.get())),
        ("log root", head.root.to_string()),
    ];
    rows.extend(fields.hashes.iter().map(|hash| ("hash", hash.clone())));
    output::facts(globals.json, &fields, &rows)
}

fn index_here(
    args: &InclusionArgs,
    store: &StoreReader,
    globals: &Globals,
) -> Result<LogIndex, Failure> {
    match (args.index, &args.id) {
        (Some(index), _) => Ok(LogIndex(index)),
        (None, Some(id)) => {
            let id = id.resolve(store)?;
            let not_held = Failure::NotHeld { id, dir: globals.store.clone() };
            Ok(store.find(&id)?.ok_or(not_held)?.index)
        }
        (None, None) => Err(InternalError::new("the entry to prove").into()),
    }
}

fn consistency(args: &ConsistencyArgs, globals: &Globals) -> Result<(), Failure> {
    let (old, new) = (LogSize(args.old), args.new.map(LogSize));
    let grown = match args.read.connect()? {
        Some(remote) => remote.wait(remote.client.prove_consistency(old, new))?,
        None => open::reading(globals, |store| Ok(Grown::of(store, old, new)?))?,
    };
    grown.verify().map_err(|source| Failure::WrongHistory { source })?;
    trusted(args.old_root, grown.old.size, grown.old.root)?;
    trusted(args.root, grown.new.size, grown.new.root)?;
    let Grown { old, new, proof } = grown;
    let fields = ConsistencyFields {
        old_size: old.size.get(),
        old_root: old.root.to_string(),
        new_size: new.size.get(),
        new_root: new.root.to_string(),
        hashes: proof.0.iter().map(to_hex).collect(),
    };
    let mut rows = vec![
        ("old size", grouped(old.size.get())),
        ("old root", old.root.to_string()),
        ("new size", grouped(new.size.get())),
        ("new root", new.root.to_string()),
    ];
    rows.extend(fields.hashes.iter().map(|hash| ("hash", hash.clone())));
    output::facts(globals.json, &fields, &rows)
}

/// Compares a root with the one that is trusted, if one is.
fn trusted(trusted: Option<Root>, size: LogSize, found: Root) -> Result<(), Failure> {
    match trusted {
        Some(trusted) if trusted != found => Err(Failure::OtherHistory {
            size,
            trusted: trusted.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}

#[derive(Serialize)]
struct InclusionFields {
    index: u64,
    time: String,
    #[serde(serialize_with = "decimal::string")]
    ntp64: u64,
    id: String,
    log_size: u64,
    log_root: String,
    hashes: Vec<String>,
}

#[derive(Serialize)]
struct ConsistencyFields {
    old_size: u64,
    old_root: String,
    new_size: u64,
    new_root: String,
    hashes: Vec<String>,
}
