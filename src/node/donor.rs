//! Bodies for what is damaged here: whichever peer has them.

use std::{sync::Arc, time::Duration};

use stemedb_merkle::AssertionId;
use stemedb_rpc::backend::Which;
use stemedb_sync::cluster::Standing;
use tokio::time::timeout;

use super::{Shared, scrub::Donor};
use crate::store::lock;

/// How long one peer may take.
const TIME_MAX: Duration = Duration::from_secs(20);

/// The peers of a node.
#[derive(Debug)]
pub(super) struct Peers(pub(super) Arc<Shared>);

impl Donor for Peers {
    async fn body(&self, id: &AssertionId) -> Option<Vec<u8>> {
        let peers: Vec<_> = {
            let cluster = lock(&self.0.cluster);
            let there = cluster.peers().filter(|(_, peer)| peer.standing != Standing::Down);
            there.map(|(address, _)| address.to_owned()).collect()
        };
        let (which, keys) = (Which::Id(*id), self.0.store.peer_identity().keys);
        for peer in peers {
            let asked = async { self.0.links.client(&peer).await?.get(&which, Some(&keys)).await };
            match timeout(TIME_MAX, asked).await {
                Ok(Ok(Some((_, body)))) => return Some(body),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(peer, %error, "a peer was asked for a body in vain");
                }
                Err(_) => tracing::debug!(peer, "a peer was asked for a body for too long"),
            }
        }
        None
    }
}
