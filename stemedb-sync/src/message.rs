//! The messages of a session, as plain structs: how they are encoded is the transport's affair.
//!
//! One side, the *initiator*, asks; the other, the *responder*, answers from the snapshot that it
//! pinned for the session. Every message says which session, snapshot and request it belongs to, so
//! that a request can be repeated and a late or misplaced answer is told from the one expected.
//!
//! | request | answer | moves |
//! |---|---|---|
//! | [`Hello`] | [`Welcome`], then [`Symbols`] | roots, proofs of the secret, the first symbols |
//! | [`AskSymbols`] | [`Symbols`], one or more | coded symbols |
//! | [`AskIds`] | [`Ids`] | whole ids, of known prefixes |
//! | [`Descend`] | [`Subtrees`] | hashes below subtrees, or their ids |
//! | [`Fetch`] | [`Bodies`], one or more | bodies asked for by id |
//! | [`Tail`] | [`Bodies`], one or more | bodies in the order of the log |
//! | [`Push`], one or more parts | [`Pushed`] | bodies that the responder lacks |
//! | [`Finish`] | [`Finished`] | the check from the other side |
//! | `Leave` | `Left` | nothing: the session is given up |
//!
//! Lists of ids, hashes and bodies travel as byte strings with layouts of their own, which
//! [`codec`](crate::codec) documents and reads.

mod bodies;
mod hello;
mod reconcile;
mod refusal;

pub use self::{
    bodies::{Bodies, BodiesEnd, Fetch, Finish, Finished, Push, Pushed, Tail, Wanted},
    hello::{Cursor, CursorState, Hello, SetHead, Welcome},
    reconcile::{AskIds, AskSymbols, Descend, Ids, Subtrees, Symbols},
    refusal::Refusal,
};

/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;

/// A random number of 16 bytes that names a session, made by the initiator.
pub type SessionId = [u8; 16];

/// The identity of a node: 16 bytes, never all zeros.
pub type NodeId = [u8; 16];

/// Fields of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Which session. It is the initiator's nonce as well.
    pub session: SessionId,
    /// Which snapshot of the responder, as its [`Welcome`] came with; 0 in [`Hello`].
    pub snapshot: u64,
    /// Which request of the session: 1 for [`Hello`], then counting up. A request that is sent
    /// again keeps its number, and gets the same answer.
    pub request: u64,
    /// The MAC of the request under the key of the session
    /// ([`SessionKey`](crate::keys::SessionKey)): shows that the sender has the secret, took part
    /// in this session, and said just this. Zeros in [`Hello`], where a transport may leave it out.
    pub mac: [u8; 16],
}

/// Fields of every answer: the same numbers as its request, and in [`Welcome`] the snapshot that
/// the responder pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Which session.
    pub session: SessionId,
    /// Which snapshot of the responder. 0 if it pinned none, because the sets are equal.
    pub snapshot: u64,
    /// Which request this answers.
    pub request: u64,
    /// The MAC of the answer under the key of the session; zeros in [`Welcome`], and in what a
    /// responder says of a session that it does not have.
    pub mac: [u8; 16],
}

/// A message from the initiator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Session, snapshot, number, MAC.
    pub envelope: Envelope,
    /// The question.
    pub ask: Ask,
}

/// A message from the responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The answer.
    pub echo: Echo,
    /// The answer.
    pub answer: Answer,
}

/// Question of an initiator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Opens a session.
    Hello(Hello),
    /// Coded symbols.
    Symbols(AskSymbols),
    /// Whole ids, of known prefixes.
    Ids(AskIds),
    /// Contents of subtrees.
    Descend(Descend),
    /// Bodies by id.
    Fetch(Fetch),
    /// Bodies in the order of the log.
    Tail(Tail),
    /// Bodies given.
    Push(Push),
    /// The end.
    Finish(Finish),
    /// The end of a session that is given up: the responder lets go of its snapshot.
    Leave,
}

/// Answer of a responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Hello`], the first part.
    Welcome(Welcome),
    /// To [`Ask::Symbols`], and to [`Ask::Hello`] behind the [`Welcome`]: one part of several.
    Symbols(Symbols),
    /// To [`Ask::Ids`].
    Ids(Ids),
    /// To [`Ask::Descend`].
    Subtrees(Subtrees),
    /// To [`Ask::Fetch`] and [`Ask::Tail`], one part of several.
    Bodies(Bodies),
    /// To the last part of an [`Ask::Push`].
    Pushed(Pushed),
    /// To [`Ask::Finish`].
    Finished(Finished),
    /// To [`Ask::Leave`], whether the session was open or not.
    Left,
}

/// The kinds of requests, to count what each costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Hello`] and [`Welcome`].
    Hello,
    /// [`AskSymbols`] and [`Symbols`].
    Symbols,
    /// [`AskIds`] and [`Ids`].
    Ids,
    /// [`Descend`] and [`Subtrees`].
    Descend,
    /// [`Fetch`] and its [`Bodies`].
    Fetch,
    /// [`Tail`] and its [`Bodies`].
    Tail,
    /// [`Push`] and [`Pushed`].
    Push,
    /// [`Finish`] and [`Finished`].
    Finish,
    /// [`Ask::Leave`] and [`Answer::Left`].
    Leave,
}

impl Kind {
    /// All kinds, in the order in which a session comes to them.
    pub const ALL: [Self; 9] = [
        Self::Hello,
        Self::Symbols,
        Self::Ids,
        Self::Descend,
        Self::Fetch,
        Self::Tail,
        Self::Push,
        Self::Finish,
        Self::Leave,
    ];

    /// Whether a request of this kind is a round of finding out what differs: all but those that
    /// move bodies and those that end the session.
    pub const fn is_round(self) -> bool {
        matches!(self, Self::Hello | Self::Symbols | Self::Ids | Self::Descend)
    }

    /// Its number in the MAC of a message.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Hello => 0,
            Self::Symbols => 1,
            Self::Ids => 2,
            Self::Descend => 3,
            Self::Fetch => 4,
            Self::Tail => 5,
            Self::Push => 6,
            Self::Finish => 7,
            Self::Leave => 8,
        }
    }

    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Symbols => "symbols",
            Self::Ids => "ids",
            Self::Descend => "descend",
            Self::Fetch => "fetch",
            Self::Tail => "tail",
            Self::Push => "push",
            Self::Finish => "finish",
            Self::Leave => "leave",
        }
    }
}

impl Ask {
    /// Which kind of request it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Symbols(_) => Kind::Symbols,
            Self::Ids(_) => Kind::Ids,
            Self::Descend(_) => Kind::Descend,
            Self::Fetch(_) => Kind::Fetch,
            Self::Tail(_) => Kind::Tail,
            Self::Push(_) => Kind::Push,
            Self::Finish(_) => Kind::Finish,
            Self::Leave => Kind::Leave,
        }
    }
}

impl Answer {
    /// The kind of request that it answers; for bodies the first of the two.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Welcome(_) => Kind::Hello,
            Self::Symbols(_) => Kind::Symbols,
            Self::Ids(_) => Kind::Ids,
            Self::Subtrees(_) => Kind::Descend,
            Self::Bodies(_) => Kind::Fetch,
            Self::Pushed(_) => Kind::Push,
            Self::Finished(_) => Kind::Finish,
            Self::Left => Kind::Leave,
        }
    }

    /// The length of its list, 0 where it has none.
    pub const fn list_len(&self) -> usize {
        match self {
            Self::Symbols(symbols) => symbols.symbols.len(),
            Self::Ids(ids) => ids.suffixes.len(),
            Self::Subtrees(subtrees) => subtrees.subtrees.len(),
            Self::Bodies(bodies) => bodies.bytes.len(),
            Self::Welcome(_) | Self::Pushed(_) | Self::Finished(_) | Self::Left => 0,
        }
    }
}

impl Envelope {
    /// Kind of the answer to it.
    pub const fn echo(&self) -> Echo {
        let Self { session, snapshot, request, .. } = *self;
        Echo { session, snapshot, request, mac: [0; 16] }
    }
}
