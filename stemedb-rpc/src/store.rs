//! Store on the wire: as clients see it, as peers see it, and its sessions with others.

mod peer_store;
mod peers;
mod replicate;
mod sync_error;

pub(crate) use self::peer_store::NotTaken;
#[doc(hidden)]
pub use self::peers::rewrite as rewrite_peers;
pub use self::{
    peer_store::{PeerStore, peer_identity, session_seed},
    replicate::{Replicate, SyncOptions, fitting, sync},
    sync_error::SyncError,
};
