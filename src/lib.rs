#![doc = include_str!("../README.md")]

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
    AppendError, AssertionId, BackupError, BackupReport, CheckReport, CheckpointError,
    CheckpointReport, ClockReport, CloseError, ConsistencyProof, Depth, Entries, Entry,
    Environment, Fault, Hash, Head, HealError, Healed, HistoryError, Ids, InclusionProof, LogIndex,
    LogSize, OpenError, OpenReport, Options, ParseProofError, Pending, Position, Presence,
    Progress, ProofError, ProofFile, Proven, ReadError, Receipt, RepairError, RepairOptions,
    RepairReport, ResolveError, RestoreError, ResumePoint, Secret, SecretTooShort, SetProof,
    Snapshot, SnapshotDiff, Stats, Store, Terminal, Timestamp, TimestampRangeError, TreeHead,
    Upkeep, Warning, Watch, WatchError, backup_of, error, leaf_hash, options, repair, repair_with,
    restore, store,
};
#[cfg(feature = "sync")]
pub use stemedb_sync as sync;
