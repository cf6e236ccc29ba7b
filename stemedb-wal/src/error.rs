//! Why an operation on the log failed: one type for each operation.

use std::{fmt, io, path::PathBuf, sync::Arc};

use stemedb_merkle::{Hash, LogIndex, Timestamp, id::to_hex};

use crate::{disk::Displaced, position::Position, remote::RemoteError};

/// What the disk was asked to do when it failed.
///
/// Its text has the cause, which is not also a [source](std::error::Error::source): of what is
/// passed on to clients and into logs, often only the text arrives.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: cannot {action}: {cause}{}", path.display(), hint(cause))]
pub struct DiskError {
    /// As a verb phrase: "write 12 bytes at 4096".
    pub action: Action,
    /// The file or directory.
    pub path: PathBuf,
    /// What the operating system reported. Shared, because everyone who waited is told.
    pub cause: Arc<io::Error>,
}

impl DiskError {
    /// What failed, and to what.
    pub fn new(action: Action, path: PathBuf, source: io::Error) -> Self {
        Self { action, path, cause: Arc::new(source) }
    }

    /// Whether there was no room.
    pub fn is_full(&self) -> bool {
        matches!(self.cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// What failed and why, without the path: for those who may not know where the store lies.
    pub fn without_path(&self) -> String {
        format!("cannot {}: {}", self.action, self.cause)
    }

    /// How the directory, or a file in it, is no longer what was opened, if that is why.
    pub fn displaced(&self) -> Option<Displaced> {
        displaced(&self.cause)
    }
}

fn displaced(cause: &io::Error) -> Option<Displaced> {
    cause.get_ref()?.downcast_ref().copied()
}

fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        _ if displaced(cause).is_some() => {
            "; what was acknowledged before is in the directory that was opened: put it back in \
             its place, see to it that only one process uses it, and reopen the store"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; there is no room: free some and reopen the store"
        }
        io::ErrorKind::FileTooLarge => {
            "; files may not get so long here: raise the limit (`ulimit -f`, or that of the file \
             system) and reopen the store"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; not permitted: the store needs to read and write its directory"
        }
        io::ErrorKind::IsADirectory => "; a directory is in the place of the file: move it away",
        _ => "",
    }
}

/// What was to be done to a file or a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Opening it.
    Open,
    /// Creating it.
    Create,
    /// Finding out its length.
    Measure,
    /// Reading so many bytes at an offset.
    Read {
        /// How many bytes.
        len: u64,
        /// From where on.
        offset: u64,
    },
    /// Writing so many bytes at an offset.
    Write {
        /// How many bytes.
        len: u64,
        /// From where on.
        offset: u64,
    },
    /// Reserving room up to a length.
    Allocate {
        /// How long the file was to become.
        len: u64,
    },
    /// Cutting it to a length.
    Cut {
        /// How long the file was to become.
        len: u64,
    },
    /// Syncing it.
    Sync,
    /// Renaming it.
    Rename,
    /// Removing it.
    Remove,
    /// Listing the directory.
    List,
    /// Syncing the directory.
    SyncDirectory,
    /// Locking it.
    Lock,
    /// Checking that what is written to it can be found again.
    CheckPlace,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open the file"),
            Self::Create => f.write_str("create the file"),
            Self::Measure => f.write_str("find out the length"),
            Self::Read { len, offset } => write!(f, "read {len} bytes at {offset}"),
            Self::Write { len, offset } => write!(f, "write {len} bytes at {offset}"),
            Self::Allocate { len } => write!(f, "reserve room for {len} bytes"),
            Self::Cut { len } => write!(f, "cut the file to {len} bytes"),
            Self::Sync => f.write_str("sync the file"),
            Self::Rename => f.write_str("rename the file"),
            Self::Remove => f.write_str("remove the file"),
            Self::List => f.write_str("list the directory"),
            Self::SyncDirectory => f.write_str("sync the directory"),
            Self::Lock => f.write_str("lock the file"),
            Self::CheckPlace => f.write_str("rely on what is written there"),
        }
    }
}

/// Bytes that are not what was written, and were durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: entry {index} at offset {offset}: {what}", path.display())]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The first entry that it concerns; entries before it are not touched.
    pub index: LogIndex,
    /// What is wrong.
    pub what: DamageKind,
}

/// What is wrong with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// A segment's header.
    #[error("segment header: checksum mismatch")]
    SegmentHeader,
    /// A batch's header or end.
    #[error("header or end of a batch: checksum mismatch")]
    Batch,
    /// The head of a record.
    #[error("record head: checksum mismatch")]
    Head,
    /// The body of a record.
    #[error("record body: checksum mismatch")]
    Body,
    /// Checksums hold, and yet the parts do not follow from one another.
    #[error("valid records, but not those that follow here")]
    Sequence,
    /// The offsets or the trailer at the end of a sealed segment.
    #[error("offsets or trailer at the end of the segment: checksum mismatch")]
    Footer,
    /// The file is shorter than the next segment or the last durable mark says.
    #[error("unexpected end of the file")]
    Short,
    /// The file goes on behind its end.
    #[error("unexpected bytes behind the end of the segment")]
    Long,
    /// A body whose checksum holds and that is not what its id says.
    #[error("record body: its hash is not its id")]
    Id,
    /// What of a compressed segment says where its blocks are. All of it is there twice.
    #[error("header or head of a block of a compressed segment: checksum mismatch")]
    Blocks,
    /// What is kept here of a segment that is in the archive.
    #[error(
        "stub of an archived segment: checksum mismatch; put it back from a copy, or restore \
         the store from its archive"
    )]
    Stub,
    /// The disk returns an error instead of bytes.
    #[error("I/O error on reading {len} bytes")]
    Unreadable {
        /// How many bytes.
        len: u64,
    },
    /// A segment that should be there.
    #[error("the segment is missing")]
    Missing,
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),

    /// Another process, or another part of this one, writes to the log.
    #[error(
        "{}: the log is written to by another process: close the store there first",
        path.display()
    )]
    InUse {
        /// The segment that it writes to.
        path: PathBuf,
    },

    /// Bytes that were durable are not what was written. Never repaired without being asked.
    #[error(
        "{0}. These bytes were durable, so this is damage and not a torn write: \
         put back the file from a copy, or repair the store"
    )]
    Damaged(Damage),

    /// A segment of a format that this build does not know.
    #[error(
        "{}: format version {version}, and this build reads version 1: use a newer stemedb, or, \
         if none made this, put back the file from a copy or repair the store",
        path.display()
    )]
    Version {
        /// The segment.
        path: PathBuf,
        /// The version that it says.
        version: u32,
    },

    /// A segment that another store made.
    #[error(
        "{}: a segment of another store: move it away, and put back the one that belongs here",
        path.display()
    )]
    OtherStore {
        /// The segment.
        path: PathBuf,
    },

    /// A segment whose name says one thing and its header another.
    #[error(
        "{}: holds the segment of generation {generation} that begins with entry {first_index}: \
         repair the store, which gives each segment its name again",
        path.display()
    )]
    Misnamed {
        /// The segment.
        path: PathBuf,
        /// The generation that the header says.
        generation: u32,
        /// The first index that the header says.
        first_index: LogIndex,
    },

    /// A segment between others, or the first one, is not there.
    #[error(
        "{}: missing: the segment that begins with entry {first_index}; \
         put it back from a copy, or repair the store",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// The first entry in it.
        first_index: LogIndex,
    },

    /// Only segments of another generation are there.
    #[error(
        "{}: a segment of generation {found}, and the store's identity says generation {expected}: \
         segments and identity are from different times; put back what belongs together, or \
         repair the store",
        path.display()
    )]
    Generation {
        /// One of the segments.
        path: PathBuf,
        /// Its generation.
        found: u32,
        /// That of the identity.
        expected: u32,
    },

    /// The log ends before a place up to which it was durable: where it rested, was closed, or
    /// had a restart checkpoint written.
    #[error(
        "{}: the log ends at position {end} with {next_index} entries, and it was durable up to \
         position {marked} with {marked_index} entries, as IDENTITY or a restart checkpoint says: \
         put back what is missing from a copy, or repair the store",
        path.display()
    )]
    Shortened {
        /// The last segment, or the directory if there is none.
        path: PathBuf,
        /// Where the log ends.
        end: Position,
        /// The next index there.
        next_index: LogIndex,
        /// Up to where it was durable.
        marked: Position,
        /// The next index there.
        marked_index: LogIndex,
    },

    /// The log holds no batch boundary with this index at the position that a restart checkpoint
    /// says. Open again without the checkpoint.
    #[error(
        "the restart checkpoint covers the log up to position {position}, entry {index}, \
         and the log, which ends at {end}, has nothing that begins there"
    )]
    Watermark {
        /// The position.
        position: Position,
        /// The next index there, as the checkpoint has it.
        index: LogIndex,
        /// Where the log ends, as far as it was read.
        end: Position,
    },
}

/// Why nothing was appended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A body is longer than the limit. Nothing of the batch was appended; the log goes on.
    #[error(
        "a body of {len} bytes, and the limit is {max}: split it, or open the store with a higher \
         limit"
    )]
    TooLong {
        /// The body's length.
        len: u64,
        /// The limit.
        max: u64,
    },

    /// A write or a sync failed, now or earlier. What was not acknowledged may or may not be in
    /// the log; only reopening finds out.
    #[error("{0}. Nothing can be appended until the store is reopened")]
    Poisoned(DiskError),

    /// The clock has reached the end of time, or there are 2^64 entries.
    #[error("the log has no times or indexes left")]
    Exhausted,

    /// Gigabytes of holes were filled, and no new body was appended: the segment has no entry, so
    /// that none can follow it.
    #[error("the open segment is full of bodies that fill holes: append a new body first")]
    SegmentFull,

    /// What the append needs to know of what is there already could not be read.
    #[error("cannot append, for the log or what is beside it cannot be read: {0}")]
    Lookup(Arc<ReadError>),

    /// The body is held already, is damaged on the disk, and could not be written again.
    #[error("the store holds this body damaged, and could not put it right: {0}")]
    Unhealed(Arc<HealError>),

    /// The store has been closed, or its writer is gone.
    #[error("the store is closed")]
    Closed,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such position or index, or it is not published yet.
    #[error("there is nothing at {at}")]
    NotFound {
        /// The position or index that was asked for.
        at: u64,
    },

    /// The body was lost to damage, and only its entry is left.
    #[error(
        "entry {index}: the body of {} was lost to damage; it heals when the same bytes are \
         appended again",
        to_hex(id)
    )]
    Hole {
        /// The index of the entry.
        index: LogIndex,
        /// Its time.
        time: Timestamp,
        /// Its id.
        id: Hash,
    },

    /// The bytes on the disk are not what was written.
    #[error("{0}. Put back the file from a copy, or repair the store")]
    Damaged(Damage),

    /// The body is only in an archive, and cannot be read from there. The store is whole.
    #[error(transparent)]
    Remote(#[from] RemoteError),

    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),

    /// What maps ids to positions failed.
    #[error(transparent)]
    Index(Box<dyn std::error::Error + Send + Sync>),

    /// The log was closed for reading, too.
    #[error("the log is closed: open it again")]
    Closed,
}

/// Why a segment was not healed. The log is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealError {
    /// The log has no such position.
    #[error("position {position}: behind the end of the log")]
    NotFound {
        /// The position.
        position: Position,
    },
    /// The last segment is still written to.
    #[error(
        "{}: damage in the segment that is written to: it can be healed once the log goes on in \
         the next one",
        path.display()
    )]
    Open {
        /// The segment.
        path: PathBuf,
    },
    /// The segment is in the archive.
    #[error(
        "{}: the segment is in the archive, and cannot be healed here; check it there",
        path.display()
    )]
    Remote {
        /// The segment.
        path: PathBuf,
    },
    /// The body is not the one of the record.
    #[error("record at position {position}: another id or length than the body of {}", to_hex(id))]
    Other {
        /// The position of the record.
        position: Position,
        /// The id that the body has.
        id: Hash,
    },
    /// What the record was is unknown.
    #[error(
        "{}: offset {offset}: what was written there is unknown: close the store and \
         repair it",
        path.display()
    )]
    Unknown {
        /// The segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}
