//! Heads that a witness has cosigned.

use alloc::string::String;

use stemedb_merkle::history::TreeHead;

/// The head of an origin that a witness has cosigned last: all that it must remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CosignedHead {
    /// Size and root.
    pub head: TreeHead,
    /// The time of the cosignature, in POSIX seconds.
    pub time: u64,
    /// The checkpoint with the log's lines and the cosignature: without the former no fork can be
    /// proven.
    pub note: String,
}
