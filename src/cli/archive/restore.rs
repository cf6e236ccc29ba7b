//! `stemedb archive restore`: makes a store from an archived log.

use serde::Serialize;
use stemedb::Root;
use stemedb::archive::{Archive, RestoreOptions};
use stemedb::node::status::HeadStatus;

use super::super::failure::Failure;
use super::super::format::grouped;
use super::super::{Globals, input, output, peer, secret};

/// Make a store from an archived log, in a directory that is not there yet
///
/// The directory is the one of --store. The store is a node of its own, with an id and an epoch of
/// its own; `stemedb sync` brings what others have beyond the archive. Everything is checked on
/// the way, and before that is done there is nothing that opens as a store. An interrupted restore
/// is gone on with by the same command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb --store new archive restore s3://backups/log --root HEX
  stemedb --store new archive restore file:///mnt/backups/log --log NAME
  stemedb --store new sync db.example.org --tls-ca authority.pem --token-file token

JSON: {count, set_root, log_size, log_root, epoch, segments, bytes}; bytes: that were fetched")]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "URL")]
    url: String,
    /// The set root that is to come out: 64 hex digits
    #[arg(long, value_name = "HEX", value_parser = input::root)]
    root: Option<Root>,
    /// Take the set tree from the archived restart checkpoint instead of building it, which takes
    /// 100 bytes of memory an assertion; the log is checked as otherwise
    #[arg(long)]
    trust_checkpoint: bool,
    #[command(flatten)]
    which: super::Which,
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    head: HeadStatus,
    epoch: u64,
    segments: u64,
    bytes: u64,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let archive = Archive::open(&args.url)?;
    let options = RestoreOptions::default()
        .selection(args.which.selection())
        .root(args.root)
        .secret(globals.secret_file.as_deref().map(secret::read).transpose()?)
        .trust_checkpoint(args.trust_checkpoint);
    let bar = super::bar();
    let work = archive.restore(&globals.store, options, super::show(&bar));
    let restored = peer::runtime()?.block_on(work);
    bar.finish_and_clear();
    let restored = restored?;
    let head = &restored.head;
    let fields = Made {
        head: HeadStatus::from(head),
        epoch: restored.epoch,
        segments: restored.segments,
        bytes: restored.bytes,
    };
    if args.root.is_none() && !globals.json {
        output::note("no --root was given: nothing but the archive itself says that this is it");
    }
    let rows = [
        ("store", globals.store.display().to_string()),
        ("set root", head.set_root.to_string()),
        ("count", grouped(head.count)),
        ("log size", grouped(head.log_size.get())),
        ("epoch", grouped(restored.epoch)),
        ("fetched", output::bytes(restored.bytes)),
    ];
    output::facts(globals.json, &fields, &rows)
}
