//! Commands that help after a failure. The library says what failed, and knows no commands.

use stemedb::archive::ArchiveError;
use stemedb::node::{NodeError, config::Problem};
use stemedb::{LogReadError, OpenError, ReadError, RemoteError, RepairError, SyncError};

use super::failure::{Exit, Failure};

const REPAIR: &str =
    "`stemedb check` lists all that is damaged, and `stemedb repair` repairs what it can";
const ACCEPT_LOSS: &str = "`stemedb repair --accept-loss` goes on without what is lost";

/// Command that helps after a failure, in a clause to go behind its text.
pub(super) fn after(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Open(error) | Failure::Repair(RepairError::Open(error)) => after_opening(error),
        Failure::Repair(RepairError::EntriesLost { .. } | RepairError::Unfinished { .. }) => {
            Some(ACCEPT_LOSS)
        }
        Failure::Read(ReadError::Log(LogReadError::Remote(RemoteError::NoSource { .. }))) => {
            Some("name it with --archive")
        }
        Failure::Read(_) | Failure::Append(_) if failure.exit() == Exit::Damaged => Some(REPAIR),
        Failure::NoSession(SyncError::Unreadable) => Some(REPAIR),
        Failure::Archive(error) => after_archiving(error),
        Failure::Config(error) => error.problems().iter().find_map(after_configuring),
        Failure::Node(NodeError::DuplicateNodeId { .. }) => {
            Some("`stemedb restore` makes a store with an id of its own of a backup")
        }
        _ => None,
    }
}

fn after_opening(error: &OpenError) -> Option<&'static str> {
    match error {
        OpenError::Missing { .. } => {
            Some("make one with `stemedb init`, or name another with --store")
        }
        OpenError::Locked { .. } => Some(
            "if that process serves it, `stemedb append --to ADDRESS` and `stemedb sync ADDRESS` \
             write through it; commands that only read need not wait",
        ),
        OpenError::OtherFiles { .. } => Some("`stemedb init --force` makes the store among them"),
        error if error.is_damage() => Some(REPAIR),
        _ => None,
    }
}

fn after_configuring(problem: &Problem) -> Option<&'static str> {
    match problem {
        Problem::Unknown { nearest: None, .. } | Problem::UnknownVariable { nearest: None, .. } => {
            Some("`stemedb config` lists all keys that there are")
        }
        Problem::OpenMembership { .. } => {
            Some("`stemedb init --secret-file` makes a store with a secret")
        }
        _ => None,
    }
}

fn after_archiving(error: &ArchiveError) -> Option<&'static str> {
    match error {
        ArchiveError::Directory { .. } => Some("`stemedb archive push` makes it"),
        ArchiveError::Damaged(_) => Some("`stemedb archive verify` lists all that is damaged"),
        ArchiveError::NoLog { .. } => Some("`stemedb archive list` shows what is there"),
        ArchiveError::SeveralLogs { .. } => Some("name one with --log"),
        ArchiveError::LocalDamage { .. } | ArchiveError::LocalBody { .. } => Some(REPAIR),
        _ => None,
    }
}
