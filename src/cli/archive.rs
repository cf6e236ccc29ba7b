//! `stemedb archive`: sealed segments on object storage, and stores from there.

mod drop;
mod list;
mod push;
mod restore;
mod verify;

use clap::Subcommand;
use indicatif::ProgressBar;
use serde::Serialize;
use stemedb::archive::{Listed, Selection};
use stemedb::node::status::HeadStatus;
use stemedb::{LogSize, Timestamp};

use super::failure::Failure;
use super::{Globals, decimal, progress};

/// Keep sealed segments on object storage, check them there, and make stores from them
///
/// An archive is a bucket with a prefix, or a directory, as in the examples.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb archive push s3://backups/log --all
  stemedb archive list s3://backups/log
  stemedb archive verify s3://backups/log --deep
  stemedb --store new archive restore s3://backups/log --root HEX
  stemedb archive list file:///mnt/backups/log

For S3 the environment says the rest: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, \
AWS_ENDPOINT_URL for other servers than Amazon's, and AWS_ALLOW_HTTP=true for one without TLS.")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Push(push::Args),
    List(list::Args),
    Verify(verify::Args),
    Restore(restore::Args),
    Drop(drop::Args),
}

/// Which log of the archive is meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// The log, where there is more than one: how its name or that of its node begins
    #[arg(long, value_name = "NAME")]
    log: Option<String>,
}

impl Which {
    fn selection(&self) -> Selection {
        Selection { log: self.log.clone() }
    }
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    match &args.action {
        Action::Push(args) => push::run(args, globals),
        Action::List(args) => list::run(args, globals),
        Action::Verify(args) => verify::run(args, globals),
        Action::Restore(args) => restore::run(args, globals),
        Action::Drop(args) => drop::run(args, globals),
    }
}

/// A bar over bytes whose number is told as the work goes on.
fn bar() -> ProgressBar {
    progress::bytes(Some(0))
}

fn show(bar: &ProgressBar) -> impl FnMut(stemedb::Progress) {
    |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    }
}

/// An archived log as fields of JSON.
#[derive(Serialize)]
struct ListedFields {
    log: String,
    #[serde(flatten)]
    head: HeadStatus,
    manifest: u64,
    time: String,
    segments: u64,
    #[serde(serialize_with = "decimal::string")]
    bytes: u64,
    checkpoint_log_size: Option<u64>,
    secret: bool,
}

impl From<&Listed> for ListedFields {
    fn from(listed: &Listed) -> Self {
        Self {
            log: listed.log.to_string(),
            head: HeadStatus::from(&listed.head),
            manifest: listed.manifest,
            time: time(listed.time),
            segments: listed.segments,
            bytes: listed.bytes,
            checkpoint_log_size: listed.checkpoint_log_size.map(LogSize::get),
            secret: listed.secret,
        }
    }
}

/// Seconds since 1970 as people write them.
fn time(seconds: u64) -> String {
    Timestamp::from_unix(seconds, 0).unwrap_or(Timestamp::MAX).to_string()
}
