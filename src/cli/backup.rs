//! `stemedb backup`: a copy of the store as it is now.

use std::path::PathBuf;

use serde::Serialize;
use stemedb::BackupReport;
use stemedb::node::status::HeadStatus;

use super::failure::Failure;
use super::format::counted;
use super::{Globals, decimal, open, output, progress};

/// Make a backup of the store in an empty directory, whether it is in use or not
///
/// Files that no longer change are linked where the file system can, so that a backup takes little
/// time and room; to survive the disk, put it on another one, where they are copied. Keep the set
/// root that it prints elsewhere: `restore` asks for it. The backup has everything that was
/// acknowledged before the command began, also by another process such as a node.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb backup /mnt/backup/$(date +%F)
  stemedb restore /mnt/backup/2026-11-21 --root HEX --store elsewhere

JSON: {count, set_root, log_size, log_root, files_linked, bytes_linked, files_copied, \
bytes_copied, segments_remote}; segments_remote: those whose bodies are only in an archive, which \
the backup needs then")]
pub(super) struct Args {
    /// The directory of the backup: empty, or made where it is missing
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let bar = progress::bytes(Some(0));
    let mut show = |progress: stemedb::Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let report = open::reading(globals, |store| Ok(store.backup(&args.dir, &mut show)?))?;
    bar.finish_and_clear();
    print(&report, globals.json)
}

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    head: HeadStatus,
    files_linked: u64,
    #[serde(serialize_with = "decimal::string")]
    bytes_linked: u64,
    files_copied: u64,
    #[serde(serialize_with = "decimal::string")]
    bytes_copied: u64,
    segments_remote: u64,
}

fn print(report: &BackupReport, as_json: bool) -> Result<(), Failure> {
    let fields = Made {
        head: HeadStatus::from(&report.head),
        files_linked: report.files_linked,
        bytes_linked: report.bytes_linked,
        files_copied: report.files_copied,
        bytes_copied: report.bytes_copied,
        segments_remote: report.segments_remote,
    };
    let part =
        |files, bytes| format!("{}, {}", output::bytes(bytes), counted(files, "file", "files"));
    let mut rows = Vec::from(super::root::rows(&report.head));
    rows.push(("linked", part(report.files_linked, report.bytes_linked)));
    rows.push(("copied", part(report.files_copied, report.bytes_copied)));
    if report.segments_remote > 0 {
        let remote = counted(report.segments_remote, "segment", "segments");
        rows.push(("archive only", format!("{remote}: the backup needs the archive")));
    }
    output::facts(as_json, &fields, &rows)
}
