//! The log of stemedb: segments, group commit, recovery, restart checkpoints.

pub mod disk;
