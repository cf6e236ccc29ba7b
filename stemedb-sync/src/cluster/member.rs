//! A member of the cluster, as gossip names it.

use super::key::PublicKey;
use crate::message::NodeId;

/// The longest address, in bytes.
pub const ADDRESS_LEN_MAX: usize = 255;

/// The highest generation. What is left above it does not fit into a renewal.
pub(super) const GENERATION_MAX: u64 = u64::MAX - (1 << 32);

/// A member: which node, where it is reached, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its node id.
    pub node: NodeId,
    /// The key by which it proves that the id is its own.
    pub key: PublicKey,
    /// Raised whenever it begins again or is called dead without being so: the highest one counts.
    pub generation: u64,
    /// Address at which others reach it: `HOST:PORT`.
    pub address: String,
}

impl foca::Identity for Member {
    // One node is one member, wherever it moves. Two keys are two nodes, whatever they say.
    type Addr = (NodeId, PublicKey);

    fn renew(&self) -> Option<Self> {
        let generation = self.generation.checked_add(1);
        let generation = generation.filter(|generation| *generation <= GENERATION_MAX)?;
        Some(Self { generation, ..self.clone() })
    }

    fn addr(&self) -> (NodeId, PublicKey) {
        (self.node, self.key)
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.generation, &self.address) > (adversary.generation, &adversary.address)
    }
}
