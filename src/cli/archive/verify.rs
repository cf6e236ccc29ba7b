//! `stemedb archive verify`: whether what is there is whole.

use serde::Serialize;
use stemedb::archive::{Archive, Verified};

use super::super::failure::Failure;
use super::super::format::grouped;
use super::super::{Globals, decimal, output, peer, secret};
use super::ListedFields;

/// Read an archived log where it is, and check it
///
/// Every object against its hash, every record against its checksums, all entries against the
/// history root. With --deep also every body against its id and all of them against the set root,
/// which takes 100 bytes of memory an assertion, and the secret of a store that has one. Exit code
/// 3 if something is damaged.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb archive verify s3://backups/log
  stemedb archive verify s3://backups/log --deep --json

JSON: {whole, deep, read, faults, log, count, set_root, log_size, log_root, manifest, time, \
segments, bytes, checkpoint_log_size, secret}; faults is an array of texts")]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "URL")]
    url: String,
    /// Check bodies and the set root too
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    which: super::Which,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let archive = Archive::open(&args.url)?;
    let secret = globals.secret_file.as_deref().map(secret::read).transpose()?;
    let bar = super::bar();
    let selection = args.which.selection();
    let work = archive.verify(&selection, args.deep, secret.as_ref(), super::show(&bar));
    let verified = peer::runtime()?.block_on(work);
    bar.finish_and_clear();
    let verified = verified?;
    print(&verified, globals.json)?;
    match verified.faults.len() {
        0 => Ok(()),
        faults => Err(Failure::ArchiveNotWhole { url: args.url.clone(), faults }),
    }
}

#[derive(Serialize)]
struct Checked {
    whole: bool,
    deep: bool,
    #[serde(serialize_with = "decimal::string")]
    read: u64,
    faults: Vec<String>,
    #[serde(flatten)]
    listed: ListedFields,
}

fn print(verified: &Verified, as_json: bool) -> Result<(), Failure> {
    let faults: Vec<String> = verified.faults.iter().map(ToString::to_string).collect();
    for fault in &faults {
        output::note(fault);
    }
    let listed = &verified.listed;
    let fields = Checked {
        whole: faults.is_empty(),
        deep: verified.deep,
        read: verified.bytes,
        faults,
        listed: ListedFields::from(listed),
    };
    let rows = [
        ("archive", if fields.whole { "whole" } else { "damaged" }.to_owned()),
        ("checked", if verified.deep { "everything" } else { "hashes and checksums" }.to_owned()),
        ("log", listed.log.to_string()),
        ("entries", grouped(listed.head.log_size.get())),
        ("set root", listed.head.set_root.to_string()),
        ("read", output::bytes(verified.bytes)),
    ];
    output::facts(as_json, &fields, &rows)
}
