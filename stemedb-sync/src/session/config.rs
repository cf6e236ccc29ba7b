//! Configuration of a session.

use crate::{
    limits::Limits,
    replica::Identity,
    report::{Layer, PeerCursor},
};

/// Which way bodies go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both.
    #[default]
    Both,
    /// From the peer to this store only.
    Pull,
    /// From this store to the peer only.
    Push,
    /// Neither: the session ends when it has found what differs, and
    /// [`Report::found`](crate::Report::found) says it. Of a log that would be read
    /// ([`Layer::Cursor`], [`Layer::Bulk`]) it only says how long that is.
    Neither,
}

stemedb_merkle::options! {
    /// Configuration of a session.
    #[derive(Clone, Debug)]
    pub struct Config {
        new {
            /// Identity of the initiator.
            pub identity: Identity,
            /// 32 random bytes, new for each session.
            pub seed: [u8; 32],
        }
        /// Everything that is limited.
        pub limits: Limits = Limits::default(),
        /// Which way bodies go.
        pub direction: Direction = Direction::Both,
        /// How far this peer's log was read, if that is known. One of another node does no harm.
        pub cursor: Option<PeerCursor> = None,
        /// The layers that are left out: [`Layer::Root`] always stays, and [`Layer::Descent`] is
        /// used where no other is left.
        pub without: Vec<Layer> = Vec::new(),
    }
}

impl Direction {
    /// Whether bodies come from the peer.
    pub const fn pulls(self) -> bool {
        matches!(self, Self::Both | Self::Pull)
    }

    /// Whether bodies go to the peer.
    pub const fn pushes(self) -> bool {
        matches!(self, Self::Both | Self::Push)
    }
}
