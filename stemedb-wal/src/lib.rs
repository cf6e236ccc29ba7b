//! The log of stemedb: segments, group commit, recovery, restart checkpoints.

pub mod batch;
pub mod checkpoint;
pub mod checksum;
pub mod clock;
pub mod commit;
pub mod disk;
pub mod error;
pub mod identity;
pub mod log;
pub mod record;
pub mod recovery;
pub mod repair;
pub mod segment;
pub mod tiles;
