//! stemedb: the log that two machines can compare.

mod engine;
pub mod error;
pub mod options;
pub mod store;

pub use error::{
    AppendError, CheckpointError, CloseError, HistoryError, OpenError, ReadError, ResolveError,
};
pub use options::{Options, Secret, SecretTooShort};
pub use stemedb_merkle::{
    AssertionId, Hash, Presence, ProofFile, SetProof, Terminal,
    history::{ConsistencyProof, InclusionProof, LeafIndex, TreeHead, TreeSize, leaf_hash},
    proof::ProofError,
};
pub use stemedb_wal::clock::World;
pub use store::{
    CheckpointReport, Entries, Entry, Head, Ids, OpenReport, Pending, Receipt, Remark, Snapshot,
    SnapshotDiff, Stats, Store, Watch,
};
