//! Which operation is to fail, and how.

use std::io;

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`Disk::open`](stemedb_wal::disk::Disk::open).
    Open,
    /// [`Disk::create`](stemedb_wal::disk::Disk::create).
    Create,
    /// [`Disk::list`](stemedb_wal::disk::Disk::list).
    List,
    /// [`Disk::rename`](stemedb_wal::disk::Disk::rename).
    Rename,
    /// [`Disk::remove`](stemedb_wal::disk::Disk::remove).
    Remove,
    /// [`Disk::sync_dir`](stemedb_wal::disk::Disk::sync_dir).
    SyncDir,
    /// [`Disk::lock`](stemedb_wal::disk::Disk::lock).
    Lock,
    /// [`DiskFile::len`](stemedb_wal::disk::DiskFile::len) and
    /// [`Disk::file_len`](stemedb_wal::disk::Disk::file_len).
    Len,
    /// [`DiskFile::read_at`](stemedb_wal::disk::DiskFile::read_at), and each read of
    /// [`Disk::map`](stemedb_wal::disk::Disk::map).
    Read,
    /// [`DiskFile::write_at`](stemedb_wal::disk::DiskFile::write_at).
    Write,
    /// [`DiskFile::allocate`](stemedb_wal::disk::DiskFile::allocate).
    Allocate,
    /// [`DiskFile::set_len`](stemedb_wal::disk::DiskFile::set_len).
    SetLen,
    /// [`DiskFile::sync`](stemedb_wal::disk::DiskFile::sync).
    Sync,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Open,
        Self::Create,
        Self::List,
        Self::Rename,
        Self::Remove,
        Self::SyncDir,
        Self::Lock,
        Self::Len,
        Self::Read,
        Self::Write,
        Self::Allocate,
        Self::SetLen,
        Self::Sync,
    ];

    /// Whether it can change what a power cut leaves.
    pub fn mutates(self) -> bool {
        !matches!(self, Self::Open | Self::List | Self::Lock | Self::Len | Self::Read)
    }
}

/// Which operations a fault counts and hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every operation.
    Any,
    /// Those that [mutate](Operation::mutates).
    Mutating,
    /// Only this one.
    Only(Operation),
}

impl Target {
    /// Whether the operation is one of these.
    pub fn includes(self, operation: Operation) -> bool {
        match self {
            Self::Any => true,
            Self::Mutating => operation.mutates(),
            Self::Only(only) => only == operation,
        }
    }
}

/// What an operation that reports an error did all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Nothing. A failed sync leaves what it was to sync unknown for good, as the trait says.
    Failed,
    /// All that was asked: only the answer was lost.
    Persisted,
    /// A write did a part of it, cut at any byte; any other operation did nothing.
    Partial,
}

/// An operation that is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which operations count.
    pub target: Target,
    /// How many of them pass before one fails, counted from
    /// [`FaultyDisk::inject`](super::FaultyDisk::inject) on.
    pub after: u64,
    /// Whether all later ones fail too.
    pub from_then_on: bool,
    /// The error reported.
    pub error: io::ErrorKind,
    /// What is done in spite of it.
    pub kind: FaultKind,
}

/// A fault with what it has seen so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    pub(super) fault: Fault,
    seen: u64,
}

impl Armed {
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, seen: 0 }
    }

    /// Counts the operation; whether it fails.
    pub(super) fn hits(&mut self, operation: Operation) -> bool {
        if !self.fault.target.includes(operation) {
            return false;
        }
        let number = self.seen;
        self.seen += 1;
        number == self.fault.after || (self.fault.from_then_on && number > self.fault.after)
    }
}
