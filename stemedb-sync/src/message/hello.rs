//! The first exchange: who the two are, what they hold, and that they share the secret.

use stemedb_merkle::{Root, history::TreeHead, set};

use super::NodeId;

/// How many ids a store holds and the root over them (docs/spec.md, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetHead {
    /// How many ids.
    pub count: u64,
    /// The set root, which covers the count.
    pub root: Root,
}

impl SetHead {
    /// Whether a set can have both: of no ids there is one root only.
    pub fn is_possible(&self) -> bool {
        (self.count == 0) == (self.root == set::root(0, &[0; 32]))
    }
}

/// How far the initiator has read the responder's log in earlier sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The epoch of the responder's log.
    pub epoch: u64,
    /// How many of its entries have been read.
    pub size: u64,
    /// The first 16 bytes of its history root at that size.
    pub root: [u8; 16],
}

/// Judgement of the responder on a [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CursorState {
    /// There was none, or it can't be checked at present.
    #[default]
    None,
    /// The log still begins with what was read.
    Good,
    /// The log is another one: it was restored, repaired with loss, or copied.
    Rewritten,
    /// Something that this version does not know; it is taken for [`None`](Self::None).
    Unknown(u8),
}

impl CursorState {
    /// Its number in the protocol.
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Good => 1,
            Self::Rewritten => 2,
            Self::Unknown(number) => number,
        }
    }

    /// The state of a number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Good,
            2 => Self::Rewritten,
            number => Self::Unknown(number),
        }
    }
}

/// Opens a session. The number of the request is 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The protocol's version: [`VERSION`](super::VERSION).
    pub version: u32,
    /// Node id of the initiator.
    pub node: NodeId,
    /// The epoch of the initiator's log.
    pub epoch: u64,
    /// Shows that the initiator has the secret, or has none:
    /// [`Keys::initiator_proof`](crate::Keys::initiator_proof).
    pub proof: [u8; 16],
    /// Set of the initiator.
    pub set: SetHead,
    /// The initiator's time, NTP64.
    pub time: u64,
    /// How far it has read the responder's log.
    pub cursor: Option<Cursor>,
    /// How many coded symbols it would like if the roots differ.
    pub symbols: u32,
}

/// Answers [`Hello`]. Where it comes with a snapshot, the session is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol's version.
    pub version: u32,
    /// Node id of the responder.
    pub node: NodeId,
    /// The epoch of the responder's log.
    pub epoch: u64,
    /// The responder's random share of the session's key; zeros if no session was opened.
    pub nonce: [u8; 16],
    /// Shows that the responder has the secret, or has none:
    /// [`Keys::responder_proof`](crate::Keys::responder_proof). It covers all fields but itself.
    pub proof: [u8; 16],
    /// Set of the responder; `None` if it is that of the initiator.
    pub set: Option<SetHead>,
    /// The responder's log.
    pub log: TreeHead,
    /// The responder's time, NTP64.
    pub time: u64,
    /// Whether the initiator's cursor still holds.
    pub cursor: CursorState,
    /// How many coded symbols of the responder's set follow, in parts
    /// ([`Symbols`](super::Symbols)), at most as many as asked for; 0 if the roots agree, or if it
    /// keeps none.
    pub symbols: u32,
}
