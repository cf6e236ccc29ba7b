//! The log of stemedb: segments, group commit, recovery, restart checkpoints.

pub mod clock;
pub mod disk;
pub mod identity;
