//! Sessions that a node has begun itself, as its responder sees them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::message::NodeId;

/// Peers with which a node has begun sessions itself. Clones share them.
///
/// Two nodes that begin with each other at once need one session only: that of the node with the
/// smaller id goes on, and the other is refused.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(Arc<Mutex<BTreeMap<NodeId, usize>>>);

/// A session that is under way until this is dropped.
#[derive(Debug)]
pub struct OutgoingSession {
    outgoing: Outgoing,
    peer: NodeId,
}

impl Outgoing {
    /// Notes that a session with a peer begins.
    pub fn begin(&self, peer: NodeId) -> OutgoingSession {
        *self.peers().entry(peer).or_default() += 1;
        OutgoingSession { outgoing: self.clone(), peer }
    }

    /// Whether a session with a peer is under way.
    pub fn is_under_way(&self, peer: &NodeId) -> bool {
        self.peers().contains_key(peer)
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        // Each change is whole at each moment at which a thread could give up.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OutgoingSession {
    fn drop(&mut self) {
        let mut peers = self.outgoing.peers();
        if let Some(sessions) = peers.get_mut(&self.peer) {
            *sessions -= 1;
            if *sessions == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}
