#![doc = include_str!("../README.md")]
#![doc = include_str!("../docs/embedding.md")]

#[cfg(feature = "node")]
#[doc(hidden)]
pub mod fuzzing;

#[cfg(feature = "archive")]
pub use stemedb_archive as archive;
#[cfg(feature = "node")]
pub use stemedb_node as node;
#[cfg(feature = "sync")]
pub use stemedb_rpc::{self as rpc, Replicate, SyncError, SyncOptions};
pub use stemedb_store::{
    Action, AppendError, AssertionId, BackupError, BackupReport, Bodies, BuildError,
    CannotDecompress, CheckReport, CheckpointError, CheckpointFault, CheckpointReport, ClockReport,
    CloseError, Compression, ConsistencyProof, Copied, Damage, DamageKind, Depth, DiskError,
    Entries, Entry, EntryBodies, Environment, Fault, Hash, Head, HealError, Healed, HistoryError,
    HistoryProofError, IdentityError, Ids, InclusionProof, InternalError, LogAppendError,
    LogHealError, LogId, LogIndex, LogOpenError, LogReadError, LogRepairError, LogSize, LogWarning,
    MappedSetError, NTP64, NodeError, OpenError, OpenReport, Options, ParseProofError, Pending,
    Position, Presence, Progress, ProofError, ProofFile, ProveError, Proven, ReadError,
    ReadNodeError, Receipt, Records, RemoteError, RepairError, RepairOptions, RepairReport,
    ResolveError, RestoreError, ResumePoint, Root, Secret, SecretError, SecretTooShort,
    SegmentSource, SetAside, SetProof, Snapshot, SnapshotDiff, Stats, Store, StoreReader, Terminal,
    TileError, Timestamp, TimestampRangeError, TreeFailure, TreeHead, Upkeep, Warning, Watch,
    WatchBodies, WatchError, WriteError, error, leaf_hash, options, repair, repair_with, restore,
    store,
};
#[cfg(feature = "zstd")]
pub use stemedb_store::{CompressError, CompressReport};
#[cfg(feature = "sync")]
pub use stemedb_sync as sync;
