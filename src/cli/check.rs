//! `stemedb check`: whether the store is whole.

use serde::Serialize;
use stemedb::error::with_causes;
use stemedb::{CheckReport, Depth, OpenError, RepairError, RepairOptions, StoreReader, Warning};

use super::failure::Failure;
use super::format::{counted, grouped};
use super::{Globals, decimal, open, output, progress};

/// Check every checksum of the store; with --deep everything there is to check
///
/// --deep also hashes every body against its id and rebuilds every page and both roots; it needs
/// the secret of a store that was made with one. What the store held when the check began is
/// checked, also while another process appends to it. Exit code 0 for a store that is whole, also
/// where an append was under way or was ended by a crash; 3 for damage, and the messages say where.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb check
  stemedb check --deep --json

JSON, also of a damaged store: {whole, deep, entries, bytes, segments, remote_segments, \
checkpoints, faults, remarks}; numbers are null where the store cannot be opened; \
remote_segments: those whose bodies are only in an archive, where `stemedb archive verify --deep` \
checks them; faults and remarks are arrays of texts")]
pub(super) struct Args {
    /// Check bodies, pages and roots too
    #[arg(long)]
    deep: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    // Also on a disk that fails, every read is a call that can say so.
    let options = open::options(globals)?.map_files(false);
    let opened = open::reader(&globals.store, options);
    match opened.and_then(|store| check(&store, args, globals)) {
        Err(Failure::Open(error)) if error.is_damage() => check_closed(&error, args, globals),
        checked => checked,
    }
}

/// Reports the faults of a store that cannot be opened: all that a repair would find.
fn check_closed(error: &OpenError, args: &Args, globals: &Globals) -> Result<(), Failure> {
    let options = open::options(globals)?;
    let how = RepairOptions::default().dry_run(true);
    let found = progress::spin("checking", || stemedb::repair_with(&globals.store, &options, how));
    let (found, unplanned) = match found {
        Ok(report) => (report.remarks, None),
        Err(RepairError::EntriesLost { found, .. }) => (found, None),
        Err(failed) => (Vec::new(), Some(with_causes(&failed))),
    };
    let faults = if found.is_empty() { vec![with_causes(error)] } else { found };
    match &unplanned {
        None => output::note("the store cannot be opened; a repair would find, and do, this:"),
        Some(failed) => output::note(format_args!(
            "the store cannot be opened, and what else is damaged is unknown: {failed}"
        )),
    }
    for fault in &faults {
        output::note(fault);
    }
    let count = faults.len();
    let fields = Fields {
        whole: false,
        deep: args.deep,
        entries: None,
        bytes: None,
        segments: None,
        remote_segments: None,
        checkpoints: None,
        faults,
        remarks: unplanned.as_deref().into_iter().collect(),
    };
    output::facts(globals.json, &fields, &[("store", "damaged: it cannot be opened".to_owned())])?;
    Err(Failure::NotWhole { dir: globals.store.clone(), faults: count })
}

fn check(store: &StoreReader, args: &Args, globals: &Globals) -> Result<(), Failure> {
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
    match print(&report, store, args.deep, globals.json)? {
        0 => Ok(()),
        faults => Err(Failure::NotWhole { dir: globals.store.clone(), faults }),
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    whole: bool,
    deep: bool,
    entries: Option<u64>,
    #[serde(serialize_with = "decimal::optional")]
    bytes: Option<u64>,
    segments: Option<u64>,
    remote_segments: Option<u64>,
    checkpoints: Option<u64>,
    faults: Vec<String>,
    remarks: Vec<&'a str>,
}

/// Prints what was found, and returns the number of faults. A restart checkpoint of no use is one;
/// opening has printed it already.
fn print(
    report: &CheckReport,
    store: &StoreReader,
    deep: bool,
    as_json: bool,
) -> Result<usize, Failure> {
    for fault in &report.faults {
        output::note(fault);
    }
    let is_fault = |warning: &&Warning| matches!(warning, Warning::CheckpointUnused(_));
    let (unused, remarks): (Vec<_>, Vec<_>) =
        store.open_report().remarks.iter().partition(is_fault);
    let remarks: Vec<String> = remarks.iter().map(ToString::to_string).collect();
    let unused = unused.iter().map(ToString::to_string);
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).chain(unused).collect();
    let (count, whole) = (faults.len(), faults.is_empty());
    let fields = Fields {
        whole,
        deep,
        entries: Some(report.entries),
        bytes: Some(report.bytes),
        segments: Some(report.segments),
        remote_segments: Some(report.remote_segments),
        checkpoints: Some(report.checkpoints),
        faults,
        remarks: remarks.iter().map(String::as_str).collect(),
    };
    let mut rows = vec![
        ("store", if whole { "whole" } else { "damaged" }.to_owned()),
        ("checked", if deep { "everything" } else { "checksums" }.to_owned()),
        ("entries", grouped(report.entries)),
        ("read", output::bytes(report.bytes)),
        ("segments", grouped(report.segments)),
        ("checkpoints", grouped(report.checkpoints)),
    ];
    if report.remote_segments > 0 {
        let remote = counted(report.remote_segments, "segment", "segments");
        rows.push(("archive only", format!("{remote}: their bodies were not read")));
    }
    output::facts(as_json, &fields, &rows)?;
    Ok(count)
}
