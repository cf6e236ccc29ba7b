//! Outputs of a session.

use stemedb_merkle::Hash;

use crate::{body_list::HashedBodies, message::Request, report::Report};

/// Output of a session: something to do for it.
#[derive(Debug)]
pub enum Output {
    /// Send this to the peer, then tell [`Session::sent`](super::Session::sent).
    Send(Request),
    /// Append these bodies, and tell [`Session::appended`](super::Session::appended) once they are
    /// durable.
    Append(Append),
    /// Read these bodies, and tell [`Session::read`](super::Session::read).
    Read(Read),
    /// Pin the store again, and tell [`Session::pinned`](super::Session::pinned).
    Pin {
        /// Whether coded symbols may be needed, so that it is worth making them.
        symbols: bool,
    },
    /// It is over.
    Done(Box<Report>),
}

/// Bodies to append.
#[derive(Debug)]
pub struct Append {
    /// The number to tell [`Session::appended`](super::Session::appended).
    pub number: u64,
    /// The bodies; each has been checked against the id that it was asked for by.
    pub bodies: Vec<HashedBodies>,
}

impl Append {
    /// The bodies with what they hash to, in order: they need not be hashed again.
    pub fn iter(&self) -> impl Iterator<Item = (Hash, &[u8])> {
        self.bodies.iter().flat_map(HashedBodies::iter)
    }
}

/// Bodies to read.
#[derive(Debug)]
pub struct Read {
    /// The number to tell [`Session::read`](super::Session::read).
    pub number: u64,
    /// Which.
    pub ids: Vec<Hash>,
    /// After so many bytes it is enough. At least one must be read.
    pub bytes_aim: usize,
}
