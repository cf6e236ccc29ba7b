//! Finding out what differs: symbols, the other halves of ids, and subtrees.

/// Asks for coded symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskSymbols {
    /// The index of the first.
    pub from: u32,
    /// How many.
    pub count: u32,
}

/// Coded symbols of the responder's set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// Symbols from the index asked for on, as [`symbols`](crate::symbols) encodes them: at least
    /// one, fewer than asked for where a limit cuts them.
    pub symbols: Vec<u8>,
}

/// Asks for the other halves of ids. The responder keeps the list, for [`Wanted::Listed`].
///
/// [`Wanted::Listed`]: super::Wanted::Listed
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskIds {
    /// The first 16 bytes of each id, ascending.
    pub fronts: Vec<u8>,
}

/// The other halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// The last 16 bytes of each id, in the order of the fronts.
    pub backs: Vec<u8>,
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
    pub few: u32,
}

/// What lies below the subtrees asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subtrees {
    /// What is below each ([`codec::subtrees`](crate::codec::subtrees)), in the order of the
    /// request: at least one, fewer than asked about where a limit cuts them.
    pub subtrees: Vec<u8>,
}
