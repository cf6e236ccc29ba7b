//! Node as the node service sees it.

use std::{fmt, future::Future};

use stemedb_merkle::Hash;
use stemedb_sync::cluster::{FRAME_LEN_MAX, FrameError};

use crate::{
    Failure, Reason,
    status::{PauseReason, Status},
};

/// Frames in one call.
pub const FRAMES_PER_CALL_MAX: usize = 64;

/// The most bits that tell cells apart.
pub const CELL_BITS_MAX: u8 = 12;

/// A node as the node service sees it.
pub trait Node: Send + Sync + 'static {
    /// Takes in frames of gossip, and gives those that answer them.
    ///
    /// # Errors
    ///
    /// If it is not a member of a cluster: [`Reason::NotMember`].
    fn gossip(&self, frames: Vec<Vec<u8>>) -> Result<Gossiped, Failure>;

    /// Its status at this moment. May wait for a disk.
    fn status(&self) -> Status;

    /// The hash of each subtree at a depth of at most [`CELL_BITS_MAX`], zeros for an empty one.
    /// May wait for a disk.
    ///
    /// # Errors
    ///
    /// If the set tree can't be read.
    fn cells(&self, bits: u8) -> Result<Vec<Hash>, Failure>;

    /// Does what an operator asks for.
    ///
    /// # Errors
    ///
    /// If it can't be done.
    fn control(&self, what: Control) -> impl Future<Output = Result<Controlled, Failure>> + Send;

    /// Whether it serves clients as it should: what the health service says.
    fn is_ready(&self) -> bool;
}

/// What became of frames of gossip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gossiped {
    /// Frames that answer them.
    pub frames: Vec<Vec<u8>>,
    /// Reason for which one of them, or more, was not taken.
    pub refused: Option<FrameError>,
}

/// Request of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Begin no sessions.
    Pause,
    /// Begin sessions again.
    Resume,
    /// Meet a peer now, or all.
    SyncNow(Option<String>),
    /// Read the configuration again.
    Reload,
    /// Forget the member at an address, which is gone.
    Forget(String),
}

/// Result of a [`Control`] request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Controlled {
    /// No session begins until sync is resumed.
    Paused,
    /// Sessions begin again, unless something else keeps them from it.
    Resumed {
        /// The reason for which none begins.
        still_paused: Option<PauseReason>,
    },
    /// A peer, or all of them, is met as soon as it can be.
    Meeting {
        /// The peer's address; `None` for all.
        peer: Option<String>,
        /// The reason for which no session begins now.
        still_paused: Option<PauseReason>,
    },
    /// A member that is gone is forgotten.
    Forgotten {
        /// Its address.
        peer: String,
    },
    /// No peer is known.
    NobodyToMeet,
    /// The configuration was read again.
    Reloaded(Reloaded),
    /// It was done, in a word of another version.
    Unknown,
}

/// Keys of the configuration that have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Those that are in force.
    pub changed: Vec<String>,
    /// Those that take effect when the node is started again.
    pub at_restart: Vec<String>,
}

impl fmt::Display for Controlled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str(
                "no session begins until sync is resumed; those that run end by themselves",
            ),
            Self::Resumed { still_paused: None } => f.write_str("sessions begin again"),
            Self::Resumed { still_paused: Some(reason) } => {
                write!(f, "sync is still paused: {reason}")
            }
            Self::Meeting { peer, still_paused } => {
                let peer = peer.as_deref().unwrap_or("every peer");
                match still_paused {
                    None => write!(f, "{peer} is met as soon as it can be"),
                    Some(reason) => {
                        write!(f, "{peer} is met once sync goes on: it is paused ({reason})")
                    }
                }
            }
            Self::Forgotten { peer } => write!(f, "{peer} is forgotten"),
            Self::NobodyToMeet => f.write_str("this node knows of no peer to meet"),
            Self::Reloaded(reloaded) => reloaded.fmt(f),
            Self::Unknown => f.write_str("done, as a later version of the node says"),
        }
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [changed, later] = [&self.changed, &self.at_restart].map(|keys| keys.join(", "));
        match (changed.as_str(), later.as_str()) {
            ("", "") => f.write_str("nothing has changed"),
            (now, "") => write!(f, "changed: {now}"),
            ("", later) => write!(f, "nothing changes before the next start, then: {later}"),
            (now, later) => write!(f, "changed: {now}; at the next start: {later}"),
        }
    }
}

/// Checks what a call brings, so that its work is bounded.
pub(crate) fn check_frames(frames: &[Vec<u8>]) -> Result<(), Reason> {
    let fits = frames.len() <= FRAMES_PER_CALL_MAX
        && frames.iter().all(|frame| frame.len() <= FRAME_LEN_MAX);
    if fits { Ok(()) } else { Err(Reason::TooLarge) }
}

/// A server of no node: it has the other services only.
#[derive(Clone, Copy, Debug)]
pub enum NoNode {}

impl Node for NoNode {
    fn gossip(&self, _frames: Vec<Vec<u8>>) -> Result<Gossiped, Failure> {
        match *self {}
    }

    fn status(&self) -> Status {
        match *self {}
    }

    fn cells(&self, _bits: u8) -> Result<Vec<Hash>, Failure> {
        match *self {}
    }

    async fn control(&self, _what: Control) -> Result<Controlled, Failure> {
        match *self {}
    }

    fn is_ready(&self) -> bool {
        match *self {}
    }
}
