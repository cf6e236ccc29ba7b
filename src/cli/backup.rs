//! `stemedb backup`: a copy of the store as it is now.

use std::path::PathBuf;

use serde_json::json;

use super::failure::Failure;
use super::{Globals, open, output, progress};

/// Make a backup in a directory, or bring an earlier one there up to date
///
/// Files that no longer change are linked where the file system can, so that a backup takes little
/// time and room; to survive the disk, put it on another one, where they are copied. What it prints
/// as set root is what `restore` wants to be told: keep it elsewhere.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb backup /mnt/backup/store
  stemedb restore /mnt/backup/store --root HEX --store .stemedb

JSON: {count, set_root, log_size, log_root, files_shared, bytes_copied}")]
pub(super) struct Args {
    /// The directory of the backup, made where it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let report = open::existing(globals, |store| {
        Ok(progress::spin("making a backup", || store.backup(&args.dir))?)
    })?;
    if globals.json {
        let mut fields = super::root::fields(&report.head);
        fields.insert("files_shared".to_owned(), json!(report.files_shared));
        fields.insert("bytes_copied".to_owned(), json!(report.bytes_copied));
        return output::json(&fields.into());
    }
    let mut rows = Vec::from(super::root::rows(&report.head));
    rows.push(("shared", format!("{} file(s)", report.files_shared)));
    rows.push(("copied", output::bytes(report.bytes_copied)));
    output::raw(output::table(&rows).as_bytes())
}
