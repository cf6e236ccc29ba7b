//! The store of stemedb: a durable log of assertions, with a root over the set and one over the
//! history.
//!
//! ```text
//!   append --> commit queue --> writer --> log (stemedb-wal)
//!                                  |
//!                                  v
//!                    index: set tree, history tree, recent ids --> get, prove, snapshots, watch
//!                                  |
//!                                  v
//!                    restart checkpoints, tiles of the history
//! ```
//!
//! [`Store`] writes and reads, one process at a time; [`StoreReader`] is its reading half, which
//! any number of processes have beside it.
//!
//! Nothing here knows a network. Threads are those of the operating system; of tokio only its
//! `sync` is used, so that any runtime will do.

pub mod checkpoint;
pub mod clock;
mod commit;
pub mod error;
mod fault;
mod head;
pub mod id_hash;
mod index;
mod internal;
pub mod options;
mod receipt;
pub mod small_file;
pub mod store;
pub mod tiles;

pub use clock::{ClockReport, Environment, NTP64};
#[cfg(feature = "zstd")]
pub use error::CompressError;
pub use error::{
    Action, AppendError, BackupError, BuildError, CheckpointError, CheckpointFault, CloseError,
    Damage, DamageKind, DiskError, HealError, HistoryError, IdentityError, LogAppendError,
    LogHealError, LogOpenError, LogReadError, LogRepairError, MappedSetError, NodeError, OpenError,
    ProveError, ReadError, ReadNodeError, RemoteError, RepairError, ResolveError, RestoreError,
    SecretError, SetAside, TileError, TreeFailure, WatchError, WriteError,
};
pub use fault::Fault;
pub use head::Head;
pub use internal::InternalError;
pub use options::{Options, Secret, SecretTooShort};
pub use receipt::Receipt;
pub use stemedb_merkle::{
    AssertionId, Hash, LogIndex, LogSize, Presence, ProofFile, Root, SetProof, Terminal, Timestamp,
    TimestampRangeError,
    history::{ConsistencyProof, HistoryProofError, InclusionProof, TreeHead, leaf_hash},
    proof::{ParseProofError, ProofError},
};
pub use stemedb_wal::{
    Position,
    identity::Copied,
    log::Warning as LogWarning,
    remote::SegmentSource,
    sealed::{CannotDecompress, Compression},
};
#[cfg(feature = "zstd")]
pub use store::CompressReport;
pub use store::{
    BackupReport, Bodies, CheckReport, CheckpointReport, Comparison, Depth, Entries, Entry,
    EntryBodies, Healed, Ids, LogId, OpenReport, Pending, Progress, Proven, Records, RepairOptions,
    RepairReport, ResumePoint, Snapshot, SnapshotDiff, Stats, Store, StoreReader, Upkeep, Warning,
    Watch, WatchBodies, repair, repair_with, restore,
};
