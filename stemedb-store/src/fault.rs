//! Fault that a check finds.

use std::fmt;

use stemedb_merkle::{AssertionId, MappedSetError, Root};
use stemedb_wal::error::{Damage, ReadError as LogReadError};

use crate::{checkpoint::CheckpointFault, tiles::TileError};

/// Fault of a store: something that is not as it should be.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Bytes of the log are not what was written.
    Log(Damage),
    /// The set tree in the restart checkpoint is damaged.
    Checkpoint(MappedSetError),
    /// A file of the restart checkpoint is damaged.
    CheckpointFile(CheckpointFault),
    /// A tile of the history is damaged.
    Tile(TileError),
    /// A tile is whole, but not what the log's entries give.
    OtherTile {
        /// Its number.
        number: u64,
    },
    /// An entry can't be read.
    Entry(LogReadError),
    /// The set tree has an id at a position where the log has another.
    Position {
        /// The id.
        id: AssertionId,
    },
    /// The log's entries give another set root.
    SetRoot {
        /// The root that they give.
        rebuilt: Root,
    },
    /// The log's entries give another history root.
    HistoryRoot {
        /// The root that they give.
        rebuilt: Root,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(damage) => damage.fmt(f),
            Self::Checkpoint(error) | Self::CheckpointFile(CheckpointFault::MappedSet(error)) => {
                error.fmt(f)
            }
            Self::CheckpointFile(fault) => write!(
                f,
                "the restart checkpoint {fault}; it is only a cache: reopen the store to rebuild \
                 it from the log"
            ),
            Self::Tile(error) => error.fmt(f),
            Self::OtherTile { number } => {
                write!(f, "history.tiles: tile {number} is not what the log's entries give")
            }
            Self::Entry(error) => error.fmt(f),
            Self::Position { id } => {
                write!(f, "the set tree has {id} where the log has another assertion")
            }
            Self::SetRoot { rebuilt } => {
                write!(f, "the log's entries give the set root {rebuilt}")
            }
            Self::HistoryRoot { rebuilt } => {
                write!(f, "the log's entries give the history root {rebuilt}")
            }
        }
    }
}
