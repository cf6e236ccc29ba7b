//! The log of stemedb: segments, group commit, recovery, restart checkpoints.

pub mod batch;
pub mod checksum;
pub mod disk;
pub mod record;
pub mod segment;
