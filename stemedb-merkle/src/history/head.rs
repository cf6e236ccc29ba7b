//! Head of a log.

use crate::{id::Root, log::LogSize};

/// A size and the root at that size.
///
/// The two are handled together: the root of RFC 9162 does not commit to the size, so a proof
/// checked against one log's root and another's size means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: LogSize,
    /// The root over them.
    pub root: Root,
}
