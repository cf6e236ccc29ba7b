//! Difference of two sets, as a layer has found it.

use stemedb_merkle::Hash;

use crate::codec::ids::IdPrefix;

/// An id that only the peer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    Id(Hash),
    /// Prefix of the id: its body will show the rest.
    Prefix(IdPrefix),
}

/// In what the two sets differ.
#[derive(Debug)]
pub(super) enum Difference {
    /// It was checked against the root that the peer announced.
    Found { mine: Vec<Hash>, theirs: Vec<Want> },
    /// As symbols have it. It is checked once the bodies are here, which show the ids.
    Claimed { mine: Vec<Hash>, theirs: Vec<Want> },
    /// The peer holds nothing.
    AllMine,
}
