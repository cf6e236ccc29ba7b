//! Finding out what differs: symbols, ids of known prefixes, and subtrees.

/// Asks for coded symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskSymbols {
    /// The index of the first.
    pub from: u32,
    /// How many at most: the initiator stops taking them once it has peeled.
    pub count: u32,
}

/// One part of the coded symbols of the responder's set: those that follow a
/// [`Welcome`](super::Welcome), or that [`AskSymbols`] asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// The index of the first symbol of this part.
    pub from: u32,
    /// Symbols from there on, as [`symbols`](crate::symbols) encodes them, at least one.
    pub symbols: Vec<u8>,
    /// Whether it is the last part, with fewer symbols in all than asked for where a limit cuts
    /// them.
    pub last: bool,
}

/// Asks for the ids of known prefixes, by a caller that wants no bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskIds {
    /// The first 8 bytes of each id, ascending ([`codec::ids`](crate::codec::ids)).
    pub prefixes: Vec<u8>,
}

/// Suffixes of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The last 24 bytes of each id, in the order of the prefixes.
    pub suffixes: Vec<u8>,
}

/// Asks what lies below subtrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descend {
    /// The subtrees' prefixes, ascending, none of them the beginning of another
    /// ([`codec::prefixes`](crate::codec::prefixes)).
    pub nodes: Vec<u8>,
    /// How many levels below each to answer for, 1 to 8.
    pub levels: u8,
    /// A subtree of at most so many ids is answered with those.
    pub leaf_ids: u32,
}

/// Contents of the subtrees asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtrees {
    /// Contents of each ([`codec::subtrees`](crate::codec::subtrees)), in the order of the
    /// request: at least one, fewer than asked about where a limit cuts them.
    pub subtrees: Vec<u8>,
}
