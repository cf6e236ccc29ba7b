//! `stemedb repair`: repairs a damaged store, because somebody asked.

use std::borrow::Cow;

use serde::Serialize;
use stemedb::{RepairError, RepairOptions, RepairReport};

use super::failure::Failure;
use super::format::grouped;
use super::{Globals, open, output, progress};

/// Repair a damaged store; nothing else changes it unasked
///
/// Never renumbers: a lost body becomes a hole that keeps index, time and id, and heals when the
/// identical bytes are appended again. Where even entries are lost, nothing is changed: put back
/// the files from a copy, or give --accept-loss, and what can be read becomes a new epoch of the
/// log. Whatever is replaced is kept in the directory in files named *.damaged. A store that is
/// whole is left as it is. IDENTITY is made again from the segments where it is lost.
///
/// Exit code 0 if all that was appended is there; 3 if it is done and bodies are lost, which are
/// listed, or if entries are lost.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb repair
  stemedb repair --dry-run               Tell what would be done, and change nothing
  stemedb repair --accept-loss           Go on without entries that are lost

JSON: {changed, holes, lost_bodies, lost_entries, new_log, refused, dry_run, \
quarantined, remarks}; holes is how many bodies are lost and lost_bodies their ids, lost_entries \
how many entries at least, or null; new_log whether a new epoch begins without them, refused \
whether nothing was done because of them; quarantined the files kept")]
pub(super) struct Args {
    /// Go on without entries that are lost
    #[arg(long)]
    accept_loss: bool,
    /// Tell what would be done to the log and to IDENTITY, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let options = open::options(globals)?;
    let how = RepairOptions::default().accept_loss(args.accept_loss).dry_run(args.dry_run);
    let repaired =
        progress::spin("repairing", || stemedb::repair_with(&globals.store, &options, how));
    let report = match repaired {
        Ok(report) => report,
        Err(error) => return refuse(error, how, globals),
    };
    for remark in &report.remarks {
        output::note(remark);
    }
    if globals.json {
        output::json(&Fields::new(&report, false, how))?;
    } else {
        print(&report, how)?;
    }
    let dir = globals.store.clone();
    match report.lost_entries {
        Some(at_least) => Err(Failure::EntriesLost { dir, at_least, bodies: report.holes }),
        None if report.holes > 0 => Err(Failure::BodiesLost { dir, bodies: report.holes }),
        None => Ok(()),
    }
}

/// Nothing was done; where entries are lost, tells which.
fn refuse(error: RepairError, how: RepairOptions, globals: &Globals) -> Result<(), Failure> {
    if let RepairError::EntriesLost { at_least, found } = &error {
        for remark in found {
            output::note(remark);
        }
        if globals.json {
            let lost_entries = Some(*at_least);
            let report =
                RepairReport { lost_entries, remarks: found.clone(), ..RepairReport::default() };
            output::json(&Fields::new(&report, true, how))?;
        }
    }
    Err(error.into())
}

fn is_changed(report: &RepairReport, how: RepairOptions) -> bool {
    let is_found = !report.remarks.is_empty() || !report.quarantined.is_empty();
    is_found && !how.dry_run
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are those of the JSON")]
struct Fields<'a> {
    changed: bool,
    holes: u64,
    lost_bodies: Vec<String>,
    lost_entries: Option<u64>,
    new_log: bool,
    refused: bool,
    dry_run: bool,
    quarantined: Vec<Cow<'a, str>>,
    remarks: &'a [String],
}

impl<'a> Fields<'a> {
    fn new(report: &'a RepairReport, refused: bool, how: RepairOptions) -> Self {
        Self {
            changed: !refused && is_changed(report, how),
            holes: report.holes,
            lost_bodies: report.lost_bodies.iter().map(ToString::to_string).collect(),
            lost_entries: report.lost_entries,
            new_log: report.new_log,
            refused,
            dry_run: how.dry_run,
            quarantined: report.quarantined.iter().map(|path| path.to_string_lossy()).collect(),
            remarks: &report.remarks,
        }
    }
}

fn print(report: &RepairReport, how: RepairOptions) -> Result<(), Failure> {
    if report.remarks.is_empty() && report.quarantined.is_empty() {
        return output::raw(b"nothing to repair\n");
    }
    let entries_lost = match report.lost_entries {
        None => "none".to_owned(),
        Some(0) => "some: a new epoch begins".to_owned(),
        Some(count) => format!("{} at least: a new epoch begins", grouped(count)),
    };
    let mut rows = vec![("bodies lost", grouped(report.holes)), ("entries lost", entries_lost)];
    rows.extend(report.lost_bodies.iter().map(|id| ("lost body", id.to_string())));
    rows.extend(report.quarantined.iter().map(|path| ("kept", path.display().to_string())));
    if how.dry_run {
        rows.push(("changed", "nothing: this was a dry run".to_owned()));
    }
    output::raw(output::table(&rows).as_bytes())
}
