//! Moving bodies, and the end of a session.

use stemedb_merkle::history::TreeHead;

use super::SetHead;

/// Asks for bodies by id. The answer has an item for each
/// ([`codec::bodies`](crate::codec::bodies)): its body, or its whole id and why there is no body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Which.
    pub wanted: Wanted,
}

/// Which bodies are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All ids that begin with these, 8 bytes each, ascending. The bodies show what the ids are.
    Prefixes(Vec<u8>),
    /// These ids, 32 bytes each.
    Ids(Vec<u8>),
}

/// Asks for bodies in the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The index of the first entry.
    pub from: u64,
    /// How many entries.
    pub count: u64,
}

/// One part of the answer to [`Fetch`] or [`Tail`].
///
/// The answer is one string of bodies ([`codec::bodies`](crate::codec::bodies)), cut anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bodies {
    /// The place of this part, from 0.
    pub part: u32,
    /// The next bytes.
    pub bytes: Vec<u8>,
    /// The end of the answer, in the last part.
    pub end: Option<BodiesEnd>,
}

/// The end of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodiesEnd {
    /// How many of the ids, prefixes or entries asked for are processed: at least one, fewer than
    /// asked for where a limit cuts the answer. As many items are in the answer to [`Fetch`], or
    /// more where ids share a prefix; in that to [`Tail`], entries whose body was lost are left
    /// out, as their ids are not in the set.
    pub processed: u64,
}

/// One part of bodies for the responder. All parts of one push have the same request number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The place of this part, from 0.
    pub part: u32,
    /// The next bytes of the string of bodies ([`codec::bodies`](crate::codec::bodies)).
    pub bytes: Vec<u8>,
    /// Whether it is the last part, which ends with a whole body.
    pub last: bool,
}

/// Answers the last part of a [`Push`] once all its bodies are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// How many bodies were new.
    pub appended: u64,
    /// How many were held already.
    pub duplicates: u64,
}

/// Ends a session that moved something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// Set that the initiator held before the session's [`Fetch`]es and after its [`Tail`]s, if the
    /// responder is to check that it has been given all of it; `None` after a session in one
    /// direction.
    pub set: Option<SetHead>,
    /// Set that the initiator holds now, with all that came. If the responder holds the same,
    /// nothing else has to be checked.
    pub now: Option<SetHead>,
}

/// Answers [`Finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Whether the responder holds what the initiator does now, or its snapshot, without the ids
    /// that it was asked for and with those that it was given, is the set named in [`Finish`].
    pub checked: bool,
    /// Set of the responder now.
    pub set: SetHead,
    /// The responder's log now.
    pub log: TreeHead,
}
