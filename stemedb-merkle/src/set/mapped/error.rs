//! The error of a mapped set.

use std::sync::Arc;

/// Reason why a part of a mapped set cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MappedSetError {
    /// A block of the file fails its checksum.
    #[error(
        "{file}: the block at byte {offset} fails its checksum; \
         the checkpoint is only a cache: reopen the store to rebuild it from the log"
    )]
    Damaged {
        /// The file.
        file: Arc<str>,
        /// Offset of the block.
        offset: u64,
    },
    /// The disk failed to read a part of the file.
    #[error(
        "{file}: cannot read at byte {offset}: {reason}; \
         the checkpoint is only a cache: reopen the store to rebuild it from the log"
    )]
    Unreadable {
        /// The file.
        file: Arc<str>,
        /// Offset of the part.
        offset: u64,
        /// Error of the disk.
        reason: Arc<str>,
    },
    /// Parts of the mapped set contradict each other.
    #[error(
        "{file}: contradicts itself; \
         the checkpoint is only a cache: reopen the store to rebuild it from the log"
    )]
    Inconsistent {
        /// The file.
        file: Arc<str>,
    },
}
