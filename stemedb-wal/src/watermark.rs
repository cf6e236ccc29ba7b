//! Place up to which a log was durable.

use stemedb_merkle::LogIndex;

use crate::position::Position;

/// A place between two batches, up to which the log is known to have been durable. The
/// greater one of two of a log is further on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark {
    /// The position.
    pub position: Position,
    /// How many entries there are before it: the index of the next one.
    pub next_index: LogIndex,
}
