//! What the node service needs of a node.

use std::future::Future;

use stemedb_merkle::Hash;
use stemedb_sync::cluster::FRAME_LEN_MAX;

use crate::{Failure, Reason};

/// Frames in one call.
pub const FRAMES_PER_CALL_MAX: usize = 64;

/// The most bits that tell cells apart.
pub const CELL_BITS_MAX: u8 = 12;

/// A node as the node service sees it.
pub trait Node: Send + Sync + 'static {
    /// Takes in frames of gossip, and gives those that answer them.
    fn gossip(&self, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>>;

    /// What it shows of itself, as one JSON object. May wait for a disk.
    fn status(&self) -> String;

    /// The hash of each subtree at a depth of at most [`CELL_BITS_MAX`], zeros for an empty one.
    /// May wait for a disk.
    ///
    /// # Errors
    ///
    /// If the set tree can't be read.
    fn cells(&self, bits: u8) -> Result<Vec<Hash>, Failure>;

    /// Does something, and says what was done.
    ///
    /// # Errors
    ///
    /// If it can't be done.
    fn control(&self, what: Control) -> impl Future<Output = Result<String, Failure>> + Send;

    /// Whether it serves clients as it should: what the health service says.
    fn is_ready(&self) -> bool;
}

/// Something to do.
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
    fn gossip(&self, _frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        match *self {}
    }

    fn status(&self) -> String {
        match *self {}
    }

    fn cells(&self, _bits: u8) -> Result<Vec<Hash>, Failure> {
        match *self {}
    }

    async fn control(&self, _what: Control) -> Result<String, Failure> {
        match *self {}
    }

    fn is_ready(&self) -> bool {
        match *self {}
    }
}
