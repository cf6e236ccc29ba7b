//! A member of the cluster, as gossip names it.

use crate::message::NodeId;

/// The longest address, in bytes.
pub const ADDRESS_LEN_MAX: usize = 255;

/// A member: which node, where it is reached, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its node id.
    pub node: NodeId,
    /// Raised whenever it begins anew or is called dead without being so: the highest one counts.
    pub generation: u64,
    /// Where others reach it: `HOST:PORT`.
    pub address: String,
}

impl foca::Identity for Member {
    // One node is one member, wherever it moves.
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation.checked_add(1)?, ..self.clone() })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        (self.generation, &self.address) > (adversary.generation, &adversary.address)
    }
}
