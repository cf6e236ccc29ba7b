//! `stemedb check`: whether the store is whole.

use serde::Serialize;
use stemedb::{CheckReport, Depth, Store};

use super::failure::Failure;
use super::{Globals, open, output, progress};

/// Check every checksum of the store; with --deep everything there is to check
///
/// --deep also hashes every body against its id and rebuilds every page and both roots; it needs
/// the secret of a store that was made with one. Exit code 0 for a store that is whole, also
/// where a torn tail was cut on opening or the directory is a copy; 3 for damage, and the
/// messages say where.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb check
  stemedb check --deep --json

JSON: {whole, deep, entries, bytes, segments, remote_segments, checkpoints, faults, \
remarks}; remote_segments: those whose bodies are only in an archive, where `stemedb archive \
verify --deep` checks them; faults and remarks are arrays of texts")]
pub(super) struct Args {
    /// Check bodies, pages and roots too
    #[arg(long)]
    deep: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    // Also on a disk that fails, every read is a call that can say so.
    let options = open::options(globals)?.create(false).read_only(true).map_files(false);
    open::with(globals, options, |store| check(store, args, globals))
}

fn check(store: &Store, args: &Args, globals: &Globals) -> Result<(), Failure> {
    let depth = if args.deep {
        open::require_secret(store, globals)?;
        Depth::Deep
    } else {
        Depth::Checksums
    };
    let bar = progress::count("checking");
    let report = store.check(depth, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let report = report?;
    let opening = store.open_report();
    let faults = report.faults.len() + usize::from(opening.checkpoint_set_aside);
    print(&report, store, args.deep, faults == 0, globals.json)?;
    if faults == 0 {
        return Ok(());
    }
    Err(Failure::NotWhole { dir: globals.store.clone(), faults })
}

#[derive(Serialize)]
struct Fields<'a> {
    whole: bool,
    deep: bool,
    entries: u64,
    bytes: u64,
    segments: u64,
    remote_segments: u64,
    checkpoints: u64,
    faults: Vec<String>,
    remarks: Vec<&'a str>,
}

fn print(
    report: &CheckReport,
    store: &Store,
    deep: bool,
    whole: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    for fault in &faults {
        output::note(fault);
    }
    let remarks = store.open_report().to_string();
    let fields = Fields {
        whole,
        deep,
        entries: report.entries,
        bytes: report.bytes,
        segments: report.segments,
        remote_segments: report.remote_segments,
        checkpoints: report.checkpoints,
        faults,
        remarks: remarks.lines().collect(),
    };
    let mut rows = vec![
        ("store", if whole { "whole" } else { "damaged" }.to_owned()),
        ("checked", if deep { "everything" } else { "checksums" }.to_owned()),
        ("entries", report.entries.to_string()),
        ("read", output::bytes(report.bytes)),
        ("segments", report.segments.to_string()),
        ("checkpoints", report.checkpoints.to_string()),
    ];
    if report.remote_segments > 0 {
        let remote = format!("{} segments: their bodies were not read", report.remote_segments);
        rows.push(("archive only", remote));
    }
    output::facts(as_json, &fields, &rows)
}
