//! Why an operation on a store failed: one type for each operation.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use stemedb_merkle::{
    MappedSetError,
    history::{ProveError, ReadNodeError},
    set::build::BuildError,
};
pub use stemedb_wal::{
    error::{
        Action, AppendError as LogAppendError, Damage, DamageKind, DiskError,
        HealError as LogHealError, OpenError as LogOpenError, ReadError as LogReadError,
    },
    identity::{IdentityError, SecretError},
    remote::RemoteError,
    repair::RepairError as LogRepairError,
};

pub use crate::{
    checkpoint::{CheckpointFault, SetAside, WriteError},
    tiles::TileError,
};

use stemedb_merkle::{AssertionId, LogIndex, Root};
use stemedb_wal::Position;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store, and none was to be made.
    #[error("no store at {}", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// There is a store already, and a new one was to be made.
    #[error("there is a store at {} already", dir.display())]
    AlreadyThere {
        /// The directory.
        dir: PathBuf,
    },
    /// A new store was to be made in a directory that holds files of others.
    #[error(
        "{} holds other files, {file} among them: make the store in a directory of its own",
        dir.display()
    )]
    OtherFiles {
        /// The directory.
        dir: PathBuf,
        /// One of the files.
        file: String,
    },
    /// Another process, or another part of this one, has it open to write.
    #[error(
        "the store at {} is in use by {}: wait for it, or close it there",
        dir.display(), process(*holder)
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The id of the process, if it is known.
        holder: Option<u32>,
    },
    /// The identity can't be read, or the secret is another.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// I/O error.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that were durable are not what was written. Never repaired without being asked.
    #[error(
        "{0}. These bytes were durable, so this is damage and not a torn write: put back the file \
         from a copy, or repair the store"
    )]
    Damaged(Damage),
    /// The log can't be opened.
    #[error(transparent)]
    Log(LogOpenError),
    /// A body that opening read does not hash to its id.
    #[error(
        "entry {index}: the body does not hash to its id {id}; put back the file from a copy, or \
         repair the store"
    )]
    WrongId {
        /// The entry.
        index: LogIndex,
        /// The id that it says.
        id: AssertionId,
    },
    /// The system has no thread to spare.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl OpenError {
    /// Whether the store is damaged: what a repair is for.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::WrongId { .. } => true,
            Self::Log(error) => !matches!(error, LogOpenError::Disk(_)),
            Self::Identity(error) => {
                matches!(error, IdentityError::Damaged { .. } | IdentityError::Missing { .. })
            }
            _ => false,
        }
    }
}

impl From<LogOpenError> for OpenError {
    fn from(error: LogOpenError) -> Self {
        match error {
            LogOpenError::Disk(error) => Self::Disk(error),
            LogOpenError::Damaged(damage) => Self::Damaged(damage),
            LogOpenError::InUse { path } => Self::Locked { dir: dir_of(&path), holder: None },
            error => Self::Log(error),
        }
    }
}

/// A process, as an error names it.
fn process(id: Option<u32>) -> String {
    id.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
}

/// The directory of a file.
pub(crate) fn dir_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or(file).to_path_buf()
}

/// Why nothing was appended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The log refused it.
    #[error(transparent)]
    Log(#[from] LogAppendError),
    /// Ids can't be made without the secret.
    #[error("this store has a secret, and without it no body can be appended: give its file")]
    SecretMissing,
    /// The store was opened to be read only.
    #[error("the store is open for reading only")]
    ReadOnly,
}

impl AppendError {
    /// Whether the store holds the body and it is damaged, or what tells where it is.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log(LogAppendError::Unhealed(_)) => true,
            Self::Log(LogAppendError::Lookup(error)) => {
                matches!(**error, LogReadError::Damaged(_) | LogReadError::Hole { .. })
            }
            _ => false,
        }
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log could not be read; damage and lost bodies are among this.
    #[error(transparent)]
    Log(LogReadError),
    /// A part of the restart checkpoint could not be read.
    #[error(transparent)]
    MappedSet(#[from] MappedSetError),
    /// The bytes are not those that the id was made of.
    #[error(
        "entry {index}: the body does not hash to its id {id}; put back the file from a copy, or \
         repair the store"
    )]
    WrongId {
        /// The entry.
        index: LogIndex,
        /// The id that it says.
        id: AssertionId,
    },
    /// Ids can't be checked without the secret.
    #[error("this store has a secret, and without it no body can be checked: give its file")]
    SecretMissing,
    /// The trees do not have everything that was appended, so nothing is answered from them.
    #[error(transparent)]
    Behind(TreeFailure),
    /// The store was closed, or its writer has ended, which alone knows the log's sizes.
    #[error("the store is closed, or its writer has ended: open it again")]
    Closed,
}

impl From<LogReadError> for ReadError {
    fn from(error: LogReadError) -> Self {
        match error {
            LogReadError::Closed => Self::Closed,
            error => Self::Log(error),
        }
    }
}

impl From<TreeFailure> for ReadError {
    fn from(failure: TreeFailure) -> Self {
        match failure {
            TreeFailure::Closed => Self::Closed,
            failure => Self::Behind(failure),
        }
    }
}

/// Why the trees of a store do not have everything that was appended, and can't.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeFailure {
    /// The restart checkpoint is damaged, and so is what would rebuild the trees without it.
    #[error(
        "cannot rebuild the trees from the log{}, and the restart checkpoint is damaged: \
         {checkpoint}",
        log.as_ref().map(|log| format!(" ({log})")).unwrap_or_default()
    )]
    NotRebuilt {
        /// What is wrong with the checkpoint.
        checkpoint: MappedSetError,
        /// What of the log can't be read; none if it is a body that was lost and came back, whose
        /// place only the checkpoint tells.
        log: Option<Arc<LogReadError>>,
    },
    /// A thread of this process panicked while it changed them.
    #[error(
        "a thread panicked while it changed the trees; everything acknowledged is in the log: \
         reopen the store to rebuild them"
    )]
    Panicked,
    /// The store was closed.
    #[error("the store is closed: open it again")]
    Closed,
}

impl ReadError {
    /// Whether the store is damaged, as opposed to busy or misused.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log(error) => {
                matches!(error, LogReadError::Damaged(_) | LogReadError::Hole { .. })
            }
            Self::MappedSet(_)
            | Self::WrongId { .. }
            | Self::Behind(TreeFailure::NotRebuilt { .. }) => true,
            Self::SecretMissing
            | Self::Behind(TreeFailure::Panicked | TreeFailure::Closed)
            | Self::Closed => false,
        }
    }
}

/// Why a watch does not go on from where an earlier one ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The log is another one.
    #[error(
        "the log is not the one that was watched: the store was restored from a copy, repaired \
         with loss of entries, or replaced; watch it again from entry 0"
    )]
    OtherLog,
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a node of the history tree could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// A tile could not be read.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// An entry of the log could not be read.
    #[error(transparent)]
    Entry(#[from] LogReadError),
    /// The trees do not have everything that was appended.
    #[error(transparent)]
    Index(#[from] TreeFailure),
    /// A tile was asked for a slot that tiles do not have.
    #[error("tile {tile} has no slot {slot}, which is a fault of this program")]
    NoSuchSlot {
        /// The tile.
        tile: u64,
        /// The slot.
        slot: usize,
    },
}

/// Why a history proof or an old root could not be made.
pub type HistoryError = ProveError<ReadNodeError<NodeError>>;

/// Why a prefix does not name an id.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It is no prefix of an id.
    #[error("an id is 64 hex digits, or at least the first 4 of them, not {prefix:?}")]
    Malformed {
        /// What was given.
        prefix: String,
    },
    /// No id begins so.
    #[error("no id in the store begins with {prefix}")]
    NotFound {
        /// What was given.
        prefix: String,
    },
    /// Several ids begin so.
    #[error("several ids begin with {prefix}, among them {first} and {second}: give more digits")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// One of them.
        first: AssertionId,
        /// The next one.
        second: AssertionId,
    },
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why no restart checkpoint was written. The store goes on without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The tiles of the history can't be synced.
    #[error(transparent)]
    TileSync(#[from] TileError),
    /// A file can't be set aside.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store was opened to be read only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The trees are not current.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store is closed or its writer failed.
    #[error(transparent)]
    Log(#[from] LogAppendError),
    /// Some tiles of the history could not be written yet.
    #[error("the tiles of the history could not be written: {0}")]
    Tiles(DiskError),
}

/// Why segments of the log were not compressed. They are as they were.
#[cfg(feature = "zstd")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The store was opened to be read only.
    #[error("the store is open for reading only")]
    ReadOnly,
}

/// Why a store was not closed cleanly. All that was acknowledged is in the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The log could not be closed.
    #[error(transparent)]
    Log(#[from] LogAppendError),
    /// The mark of the clean close could not be written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Why there is no backup. What was made of it is removed again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is something already.
    #[error(
        "{} is not empty{}: name a directory that is, or one to be made",
        to.display(),
        if *unfinished { ", but holds a backup that was never finished, to be removed" } else { "" }
    )]
    NotEmpty {
        /// Where the backup was to be.
        to: PathBuf,
        /// Whether what is there is the beginning of a backup.
        unfinished: bool,
    },
    /// The files can't be linked or copied.
    #[error("cannot make a backup in {}", to.display())]
    Io {
        /// Where the backup was to be.
        to: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A segment's header is damaged, so that it is not known what it is.
    #[error(
        "{}: the header of the segment is damaged: repair the store, or heal the segment, first",
        path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
    },
    /// A part of the log is not in the store's directory.
    #[error(
        "{}: the log has a gap from position {position} on: a backup needs all segments",
        dir.display()
    )]
    Incomplete {
        /// The store.
        dir: PathBuf,
        /// Where the gap begins.
        position: Position,
    },
    /// The trees are not current.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no store, or what was copied of it can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<IdentityError> for BackupError {
    fn from(error: IdentityError) -> Self {
        Self::Open(error.into())
    }
}

/// Why no store was made from a backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is something already.
    #[error("{} is not empty: name a directory that is, or one to be made", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// There is nothing to restore.
    #[error("there is no backup at {}", dir.display())]
    NoBackup {
        /// The directory.
        dir: PathBuf,
    },
    /// The backup was never finished.
    #[error("the backup at {} was never finished: use another one", dir.display())]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// The backup cannot be read.
    #[error("cannot read the backup at {}", from.display())]
    Source {
        /// Where it is.
        from: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The directory where the store is to be cannot be read.
    #[error("cannot list {}", to.display())]
    Target {
        /// The directory.
        to: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The files can't be copied.
    #[error("cannot copy the backup at {} to {}", from.display(), to.display())]
    Copy {
        /// Where the backup is.
        from: PathBuf,
        /// Where the store was to be.
        to: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store is made and checked, and its directory cannot be synced.
    #[error(
        "the store at {} is whole, but may not survive a power cut: its directory cannot be \
         synced; remove it and restore again",
        to.display()
    )]
    NotSynced {
        /// Where the store is.
        to: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The backup is whole and holds something else.
    #[error(
        "the backup at {} has the set root {found}, not {expected}, the one that is trusted",
        from.display()
    )]
    OtherRoot {
        /// Where the backup is.
        from: PathBuf,
        /// Its set root.
        found: Root,
        /// The one that is trusted.
        expected: Root,
    },
    /// Bodies can't be checked without the secret.
    #[error("the backup has a secret, and without it no body can be checked: give its file")]
    SecretMissing,
    /// The backup is damaged.
    #[error("the backup at {} is damaged, and no store was made of it", from.display())]
    Damaged {
        /// Where the backup is.
        from: PathBuf,
        /// What is wrong, with the paths that the files had in the store that was not made.
        source: OpenError,
    },
    /// The backup is damaged where opening does not look.
    #[error("the backup at {} is damaged, and no store was made of it: {fault}", from.display())]
    Fault {
        /// Where the backup is.
        from: PathBuf,
        /// What was met first.
        fault: Box<crate::fault::Fault>,
    },
    /// What was copied can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was copied can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store could not be closed.
    #[error(transparent)]
    Close(#[from] CloseError),
}

/// Why a damaged body was not put back. The store is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HealError {
    /// What was given is not the body of the id.
    #[error("what was given as the body of {id} hashes to {found}")]
    OtherBody {
        /// The id that was to be healed.
        id: AssertionId,
        /// The id of what was given.
        found: AssertionId,
    },
    /// The assertion is not held.
    #[error("{id} is not held, so there is nothing to put right: append it")]
    NotHeld {
        /// The id.
        id: AssertionId,
    },
    /// Ids can't be checked without the secret.
    #[error("this store has a secret, and without it no body can be checked: give its file")]
    SecretMissing,
    /// The segment could not be rewritten.
    #[error(transparent)]
    Log(#[from] LogHealError),
    /// The store could not be read, before or after.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The body of a hole could not be appended, or the segment not be sealed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It was written, and reading gives something else.
    #[error("{id} was written again, and reading it still gives something else: replace the disk")]
    StillDamaged {
        /// The id.
        id: AssertionId,
    },
}

impl From<LogAppendError> for HealError {
    fn from(error: LogAppendError) -> Self {
        Self::Append(error.into())
    }
}

/// Why a store could not be repaired. Whatever was done so far is complete in itself, and repairing
/// can be tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// There is nothing to repair, or it is in use, or it has another secret.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log can't be repaired.
    #[error(transparent)]
    Log(#[from] LogRepairError),
    /// Entries would be lost, and nobody said that they may. Nothing was changed.
    #[error(
        "entries of the log are lost{}: put back the files from a copy and repair then, or \
         accept the loss and go on without these entries",
        at_least_entries(*at_least)
    )]
    EntriesLost {
        /// How many entries, at least; 0 if that is not known.
        at_least: u64,
        /// What is wrong, one line each, in the order of the log.
        found: Vec<String>,
    },
    /// The store is still being restored.
    #[error("the store at {} is being restored: run the same restore again", dir.display())]
    Restoring {
        /// The directory.
        dir: PathBuf,
    },
    /// There are segments, and no sign that the store was ever complete.
    #[error(
        "{} has neither IDENTITY nor LOCK, as a backup that was never finished, and may lack \
         segments: use another backup, put IDENTITY back from a copy, or accept the \
         loss and make a store of what is there",
        dir.display()
    )]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
}

impl RepairError {
    /// Whether it is the store that is damaged, beyond what may be repaired unasked.
    pub fn is_damage(&self) -> bool {
        use LogRepairError as Log;
        match self {
            Self::Open(error) => error.is_damage(),
            Self::EntriesLost { .. } | Self::Restoring { .. } | Self::Unfinished { .. } => true,
            Self::Log(Log::Identity(error)) => {
                matches!(error, IdentityError::Damaged { .. } | IdentityError::Missing { .. })
            }
            Self::Log(error) => matches!(
                error,
                Log::Loss { .. }
                    | Log::Stub(_)
                    | Log::Archive { .. }
                    | Log::Behind { .. }
                    | Log::Changed { .. }
            ),
        }
    }
}

fn at_least_entries(count: u64) -> String {
    if count == 0 { String::new() } else { format!(", {count} at least") }
}

/// Text of an error and of its causes, as far as those say more, on one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some name their cause themselves.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
