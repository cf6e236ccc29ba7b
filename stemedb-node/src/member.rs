//! A node as a member of its cluster.

use std::{sync::Arc, time::Duration};

use stemedb_rpc::PeerAddress;
use stemedb_rpc::SyncError;
use stemedb_rpc::store::{peer_identity, session_seed};
use stemedb_sync::{
    Cluster,
    cluster::{Config, Head, KnownMember, Policy},
    message::SetHead,
};

use super::{NodeError, Options, nodekey};
use stemedb_store::{Store, error::ReadError};

/// The pure part of a node.
pub(super) fn cluster(
    store: &Arc<Store>,
    options: &Options,
    address: &str,
    remembered: Vec<KnownMember>,
    now: Duration,
) -> Result<Cluster, NodeError> {
    let identity = peer_identity(store);
    let advertise = |source| NodeError::Advertise { address: address.to_owned(), source };
    let _: PeerAddress = address.parse().map_err(advertise)?;
    let seed: [u8; 32] = session_seed(store).map_err(NodeError::Begin)?;
    let nonce = session_seed(store).map_err(NodeError::Begin)?;
    let head = head_of(store).map_err(|_| NodeError::Begin(SyncError::Unreadable))?;
    let config = Config {
        node: identity.node,
        key: nodekey::load_or_make(store)?,
        remembered,
        run: nonce,
        // Never before what the log has, whatever the clock says.
        began: store.clock_time().as_ntp64().max(head.last_time.saturating_add(1)),
        address: address.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        keys: identity.keys,
        gossip: options.gossip,
        join: options.join.iter().map(ToString::to_string).collect(),
        peers: options.peers.iter().map(ToString::to_string).collect(),
        policy: policy(options),
        // The first eight bytes, little-endian.
        seed: seed.iter().take(8).rev().fold(0, |seed, byte| (seed << 8) | u64::from(*byte)),
    };
    Ok(Cluster::new(config, head, now))
}

pub(super) fn policy(options: &Options) -> Policy {
    Policy { interval: options.sync.interval, sessions_max: options.sync.sessions_max }
}

pub(super) fn head_of(store: &Store) -> Result<Head, ReadError> {
    let head = store.head()?;
    Ok(Head {
        set: SetHead { count: head.count, root: head.set_root },
        log_size: head.log_size.get(),
        last_time: head.last_time.as_ntp64(),
        epoch: peer_identity(store).epoch,
        store: store.store_id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
