//! `stemedb repair`: mends a damaged store, because somebody asked.

use serde_json::json;

use super::failure::Failure;
use super::{Globals, open, output, progress};

/// Mend a damaged store; nothing else ever does so unasked
///
/// Never renumbers: a lost body becomes a hole that keeps index, time and id, and heals when the
/// identical bytes are appended again. Where even the entry is unknown, what can be read becomes
/// a new epoch of the log. Whatever is replaced is kept in the directory in files named aside-*.
/// A store that is whole is left as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb check || stemedb repair

JSON: {changed, holes, new_log, aside, remarks}; holes is the bodies lost, new_log whether \
entries are lost and a new epoch begins, aside the files kept")]
pub(super) struct Args {}

pub(super) fn run(_: &Args, globals: &Globals) -> Result<(), Failure> {
    let options = open::options(globals)?;
    let report = progress::spin("repairing", || stemedb::repair(&globals.store, &options))?;
    let changed = !(report.remarks.is_empty() && report.aside.is_empty());
    for remark in &report.remarks {
        output::note(remark);
    }
    if globals.json {
        let aside: Vec<_> = report.aside.iter().map(|path| path.to_string_lossy()).collect();
        return output::json(&json!({
            "changed": changed,
            "holes": report.holes,
            "new_log": report.new_log,
            "aside": aside,
            "remarks": report.remarks,
        }));
    }
    if !changed {
        return output::raw(b"nothing to repair\n");
    }
    let entries_lost = if report.new_log { "some: a new epoch begins" } else { "none" };
    let mut rows =
        vec![("bodies lost", report.holes.to_string()), ("entries lost", entries_lost.to_owned())];
    rows.extend(report.aside.iter().map(|path| ("kept aside", path.display().to_string())));
    output::raw(output::table(&rows).as_bytes())
}
