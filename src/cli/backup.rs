//! `stemedb backup`: a copy of the store as it is now.

use std::path::PathBuf;

use serde_json::json;
use stemedb::{BackupReport, OpenError};

use super::failure::Failure;
use super::{Globals, open, output, progress};

/// Make a backup of the store in an empty directory, whether it is in use or not
///
/// Files that no longer change are linked where the file system can, so that a backup takes little
/// time and room; to survive the disk, put it on another one, where they are copied. What it prints
/// as set root is what `restore` wants to be told: keep it elsewhere. Of a store that another
/// process has open, a node say, all is in the backup that was acknowledged a moment ago; to tell
/// its root the whole backup is then read, and checked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb backup /mnt/backup/2026-11-21
  stemedb restore /mnt/backup/2026-11-21 --root HEX --store elsewhere

JSON: {count, set_root, log_size, log_root, files_linked, bytes_linked, files_copied, \
bytes_copied, segments_remote, outside}; segments_remote: those whose bodies are only in an \
archive, which the backup needs then; outside: whether another process has the store open")]
pub(super) struct Args {
    /// The directory of the backup: empty, or made where it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let bar = progress::bytes(Some(0));
    let mut show = |progress: stemedb::Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let inside = open::reading(globals, |store| Ok(store.backup(&args.dir, &mut show)?));
    let (report, outside) = match inside {
        Err(Failure::Open(OpenError::Locked { .. })) => {
            let options = open::options(globals)?;
            (stemedb::backup_of(&globals.store, &args.dir, &options, &mut show)?, true)
        }
        report => (report?, false),
    };
    bar.finish_and_clear();
    print(&report, outside, globals.json)
}

fn print(report: &BackupReport, outside: bool, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let mut fields = super::root::fields(&report.head);
        fields.insert("files_linked".to_owned(), json!(report.files_linked));
        fields.insert("bytes_linked".to_owned(), json!(report.bytes_linked));
        fields.insert("files_copied".to_owned(), json!(report.files_copied));
        fields.insert("bytes_copied".to_owned(), json!(report.bytes_copied));
        fields.insert("segments_remote".to_owned(), json!(report.segments_remote));
        fields.insert("outside".to_owned(), json!(outside));
        return output::json(&fields.into());
    }
    let part = |files, bytes| format!("{}, {files} file(s)", output::bytes(bytes));
    let mut rows = Vec::from(super::root::rows(&report.head));
    rows.push(("linked", part(report.files_linked, report.bytes_linked)));
    rows.push(("copied", part(report.files_copied, report.bytes_copied)));
    if report.segments_remote > 0 {
        let remote = format!("{} segments: the backup needs the archive", report.segments_remote);
        rows.push(("archive only", remote));
    }
    output::raw(output::table(&rows).as_bytes())
}
