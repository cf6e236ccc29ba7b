//! Report of a session: what it did, and how it ended.

use core::{fmt, time::Duration};

use stemedb_merkle::{Hash, Root};

use crate::{
    internal::internal_error,
    message::{Kind, NodeId, Refusal, SetHead},
    violation::ProtocolViolation,
};

/// The ways to find out what differs, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Roots and counts say it.
    Root,
    /// The part of the peer's log since it was last read.
    Cursor,
    /// Coded symbols.
    Symbols,
    /// Hashes of subtrees.
    Descent,
    /// The whole log of the peer.
    Bulk,
}

/// Reason for which a layer was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Each session begins with it.
    First,
    /// The peer holds nothing, so that all of ours is new to it.
    PeerEmpty,
    /// We hold little or nothing of what the peer holds.
    MuchBehind,
    /// The peer's log was read before and grew by as much as its set did.
    FellBehind,
    /// It is the cheapest that settles any difference.
    Cheapest,
    /// One of the two has no coded symbols.
    NoSymbols,
    /// So much differs that coded symbols would cost more.
    TooManyDiffer,
    /// The symbols gave no more ids away.
    Stalled,
    /// The result of the symbols does not have the peer's root.
    OtherRoot,
}

/// A layer that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub layer: Layer,
    /// The reason.
    pub why: Why,
}

/// Messages and bytes of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent, repeats included.
    pub requests: u64,
    /// Bytes sent, as the transport says.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// Something that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// [`Limits::rounds_max`](crate::Limits::rounds_max).
    Rounds,
    /// [`Limits::reconcile_bytes_max`](crate::Limits::reconcile_bytes_max).
    ReconcileBytes,
    /// [`Limits::body_bytes_max`](crate::Limits::body_bytes_max).
    BodyBytes,
    /// [`Limits::session_time_max`](crate::Limits::session_time_max).
    Time,
    /// [`Limits::restarts_max`](crate::Limits::restarts_max).
    Restarts,
    /// The room on the disk of the store at hand.
    Disk,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All that was asked for was found, checked, and is durable.
    Complete,
    /// As far as it could be: some bodies could not be had from the peer, or could not be read
    /// here. How many is in the report.
    Incomplete,
    /// The peer broke the protocol.
    ProtocolViolation(ProtocolViolation),
    /// The peer does not want to.
    Refused(Refusal),
    /// A limit was reached.
    Limit(Limited),
    /// The peer gave no answer, however often it was asked.
    Silent,
    /// The store at hand could not be read or written.
    Unreadable,
    /// It was called off.
    Cancelled,
}

/// How far a peer's log has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerCursor {
    /// Whose log.
    pub node: NodeId,
    /// The epoch of that log.
    pub epoch: u64,
    /// How many of its entries.
    pub size: u64,
    /// The history root over them.
    pub root: Root,
}

/// Time spent on what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Finding out what differs.
    pub finding: Duration,
    /// Moving bodies.
    pub moving: Duration,
    /// Ending.
    pub finishing: Duration,
}

/// Parts of the ids by their first four bits.
pub const SLICES: usize = 16;

/// Bodies that a session moved of a part of the ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Bodies, both ways.
    pub bodies: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// In what two sets differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Ids that only we have, sorted.
    pub only_mine: Vec<Hash>,
    /// Ids that only the peer has, sorted.
    pub only_theirs: Vec<Hash>,
}

/// Report of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is the answer to a question of its own")]
pub struct Report {
    /// Its ending.
    pub ending: Ending,
    /// With whom, once that is known.
    pub peer: Option<NodeId>,
    /// The layers in the order of their use.
    pub layers: Vec<Step>,
    /// Requests to find out what differs, the first included, repeats not.
    pub rounds: u64,
    /// Requests sent again.
    pub repeats: u64,
    /// Responses that were changed on their way.
    pub garbled: u64,
    /// How often it started again.
    pub restarts: u32,
    /// Messages and bytes by kind, in the order of [`Kind::ALL`].
    pub traffic: [Traffic; Kind::ALL.len()],
    /// Bytes of bodies received, lengths included.
    pub body_bytes_received: u64,
    /// Bytes of bodies sent, lengths included.
    pub body_bytes_sent: u64,
    /// Ids that were compared one by one.
    pub compared: u64,
    /// Ids found that only the peer has.
    pub only_theirs: u64,
    /// Ids found that only we have.
    pub only_mine: u64,
    /// Which ids these are, if that was all that was asked for.
    pub found: Option<Found>,
    /// Bodies received and durable.
    pub fetched: u64,
    /// Of those, how many were held already.
    pub fetched_duplicates: u64,
    /// Bodies that the peer made durable.
    pub pushed: u64,
    /// Of those, how many it held already.
    pub pushed_duplicates: u64,
    /// Bodies that the peer did not give.
    pub withheld: u64,
    /// Bodies that could not be read here.
    pub unreadable: u64,
    /// Whether what was found has been checked against the peer's root.
    pub checked: bool,
    /// Whether the peer checked it as well, against ours.
    pub confirmed: bool,
    /// Whether both hold the same set now, as of the two snapshots.
    pub equal: bool,
    /// The set that both hold then.
    pub set: Option<SetHead>,
    /// Whether the peer's set has moved on since.
    pub peer_moved: bool,
    /// How far the peer's log has been read, to be kept for the next session.
    pub cursor: Option<PeerCursor>,
    /// Whether the peer's log is not what was read of it before: it was restored or rewritten.
    pub peer_rewritten: bool,
    /// How far the peer's clock is ahead, where that is more than the limit. Its bodies are taken,
    /// and our clock stays as it is.
    pub clock_ahead: Option<Duration>,
    /// Bodies that were moved, by the first four bits of the ids.
    pub slices: [Slice; SLICES],
    /// Time by phase.
    pub times: Times,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self {
            ending: Ending::Cancelled,
            peer: None,
            layers: Vec::new(),
            rounds: 0,
            repeats: 0,
            garbled: 0,
            restarts: 0,
            traffic: [Traffic::default(); Kind::ALL.len()],
            body_bytes_received: 0,
            body_bytes_sent: 0,
            compared: 0,
            only_theirs: 0,
            only_mine: 0,
            found: None,
            fetched: 0,
            fetched_duplicates: 0,
            pushed: 0,
            pushed_duplicates: 0,
            withheld: 0,
            unreadable: 0,
            checked: false,
            confirmed: false,
            equal: false,
            set: None,
            peer_moved: false,
            cursor: None,
            peer_rewritten: false,
            clock_ahead: None,
            slices: [Slice::default(); SLICES],
            times: Times::default(),
        }
    }

    /// Bytes sent, all kinds together.
    pub fn bytes_sent(&self) -> u64 {
        self.traffic.iter().map(|traffic| traffic.sent).sum()
    }

    /// Bytes received, all kinds together.
    pub fn bytes_received(&self) -> u64 {
        self.traffic.iter().map(|traffic| traffic.received).sum()
    }

    /// Bytes both ways but for bodies and their messages: requests for bodies are counted, answers
    /// to them and pushes are not.
    pub fn reconcile_bytes(&self) -> u64 {
        let bytes = Kind::ALL.iter().zip(&self.traffic).map(|(kind, traffic)| match kind {
            Kind::Fetch | Kind::Tail => traffic.sent,
            Kind::Push => traffic.received,
            _ => traffic.sent + traffic.received,
        });
        bytes.sum()
    }

    /// Traffic of one kind.
    pub fn traffic_of(&self, kind: Kind) -> Traffic {
        let traffic = self.traffic.get(place_of(kind)).copied();
        traffic.unwrap_or_else(|| internal_error("a kind of message"))
    }

    pub(crate) fn traffic_mut(&mut self, kind: Kind) -> &mut Traffic {
        let traffic = self.traffic.get_mut(place_of(kind));
        traffic.unwrap_or_else(|| internal_error("a kind of message"))
    }
}

fn place_of(kind: Kind) -> usize {
    let place = Kind::ALL.iter().position(|other| *other == kind);
    place.unwrap_or_else(|| internal_error("a kind of message"))
}

impl Layer {
    /// A word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Cursor => "cursor",
            Self::Symbols => "symbols",
            Self::Descent => "descent",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "each session begins with it",
            Self::PeerEmpty => "the peer holds nothing",
            Self::MuchBehind => "this store lacks most of what the peer holds",
            Self::FellBehind => "the peer's log was read before and has grown since",
            Self::Cheapest => "it is the cheapest that settles any difference",
            Self::NoSymbols => "one side has no coded symbols",
            Self::TooManyDiffer => "too much differs for coded symbols",
            Self::Stalled => "the coded symbols gave no more ids away",
            Self::OtherRoot => "what the coded symbols gave does not have the peer's root",
        })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => f.write_str("complete, checked and durable"),
            Self::Incomplete => f.write_str(
                "incomplete: some bodies could not be read on one of the two sides; check the \
                 stores, repair the one that lacks them, and sync again",
            ),
            Self::ProtocolViolation(violation) => {
                write!(f, "the peer broke the protocol: {violation}")
            }
            Self::Refused(refusal) => write!(f, "{refusal}"),
            Self::Limit(limited) => write!(f, "{limited}"),
            Self::Silent => f.write_str("the peer does not answer; sync again to go on"),
            Self::Unreadable => {
                f.write_str("this store could not be read or written; check it, then sync again")
            }
            Self::Cancelled => f.write_str("called off; what has arrived is kept"),
        }
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rounds => "more rounds than a session may take; sync again to go on",
            Self::ReconcileBytes => {
                "finding out what differs took more bytes than it may; raise the limit"
            }
            Self::BodyBytes => {
                "as many bytes of bodies as asked for have moved; sync again to go on"
            }
            Self::Time => "a session may not last longer; sync again to go on",
            Self::Restarts => {
                "the peer lost the session's snapshot too often; try again when it is less busy"
            }
            Self::Disk => {
                "this store takes no bodies, as its disk is nearly full; make room, then sync again"
            }
        })
    }
}
