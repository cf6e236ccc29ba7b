#![doc = include_str!("../README.md")]

#[cfg(feature = "node")]
pub mod archive;
mod engine;
pub mod error;
#[cfg(feature = "node")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "node")]
pub mod node;
pub mod options;
pub mod store;

pub use error::{
    AppendError, BackupError, CheckpointError, CloseError, HealError, HistoryError, OpenError,
    ReadError, RepairError, ResolveError, RestoreError, WatchError,
};
pub use options::{Options, Secret, SecretTooShort};
pub use stemedb_merkle::{
    AssertionId, Hash, Presence, ProofFile, SetProof, Terminal,
    history::{ConsistencyProof, InclusionProof, LeafIndex, TreeHead, TreeSize, leaf_hash},
    proof::{ParseProofError, ProofError},
};
pub use stemedb_rpc as rpc;
pub use stemedb_sync as sync;
pub use stemedb_wal::clock::{ClockReport, World};
pub use store::{
    BackupReport, CheckReport, CheckpointReport, Depth, Entries, Entry, Fault, Head, Healed, Ids,
    OpenReport, Pending, Progress, Receipt, Remark, RepairOptions, RepairReport, ResumePoint,
    Snapshot, SnapshotDiff, Stats, Store, SyncError, SyncOptions, Upkeep, Watch, backup_of, repair,
    repair_with, restore,
};
