//! Keys that two peers derive from the cluster secret.

mod seal;

use stemedb_merkle::{
    Hash,
    hash::{derive, hash_bodies},
};
use subtle::ConstantTimeEq as _;

pub use self::seal::SessionKey;
use crate::message::{Cursor, Echo, Hello, SessionId, SetHead, Welcome};

/// The keys that follow from the cluster secret, or from having none (docs/spec.md, section 1).
#[derive(Clone)]
pub struct Keys {
    id: Option<Hash>,
    peer: Hash,
    gossip: Hash,
    symbol: [u8; 16],
}

impl Keys {
    /// The keys of a secret of 16 bytes or more, or of no secret.
    pub fn new(secret: Option<&[u8]>) -> Self {
        let material = secret.unwrap_or_default();
        let [symbol, _] = halves(&derive("symbol check", material));
        Self {
            id: secret.map(|secret| derive("assertion id", secret)),
            peer: derive("peer check", material),
            gossip: derive("gossip", material),
            symbol,
        }
    }

    /// The id of a body.
    pub fn id(&self, body: &[u8]) -> Hash {
        match &self.id {
            Some(key) => blake3::keyed_hash(key, body).into(),
            None => blake3::hash(body).into(),
        }
    }

    /// The ids of bodies, which cost less together.
    pub fn ids<'a>(&self, bodies: impl IntoIterator<Item = &'a [u8]>) -> Vec<Hash> {
        let mut ids = Vec::new();
        hash_bodies(self.id.as_ref(), bodies, &mut ids);
        ids
    }

    /// The key of the checks in coded symbols.
    pub fn symbol_key(&self) -> [u8; 16] {
        self.symbol
    }

    /// Proof in a [`Hello`] of this session: 16 bytes of the keyed hash of `"initiator"`, the
    /// session, and all fields but the proof, in order, integers little-endian. An option is a byte
    /// 0, or a byte 1 and its fields.
    pub fn initiator_proof(&self, session: &SessionId, hello: &Hello) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.peer);
        hasher.update(b"initiator").update(session);
        hasher.update(&hello.version.to_le_bytes()).update(&hello.node);
        hasher.update(&hello.epoch.to_le_bytes());
        set(&mut hasher, &hello.set);
        hasher.update(&hello.time.to_le_bytes());
        match &hello.cursor {
            None => hasher.update(&[0]),
            Some(Cursor { epoch, size, root }) => hasher
                .update(&[1])
                .update(&epoch.to_le_bytes())
                .update(&size.to_le_bytes())
                .update(root),
        };
        hasher.update(&hello.symbols.to_le_bytes());
        front(&hasher)
    }

    /// Proof in a [`Welcome`]: 16 bytes of the keyed hash of `"responder"`, the session, the
    /// initiator's proof, the snapshot, and all fields but the proof, in order. The state of the
    /// cursor is its number, as a byte.
    pub fn responder_proof(&self, echo: &Echo, hello: &Hello, welcome: &Welcome) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.peer);
        hasher.update(b"responder").update(&echo.session).update(&hello.proof);
        hasher.update(&echo.snapshot.to_le_bytes());
        hasher.update(&welcome.version.to_le_bytes()).update(&welcome.node);
        hasher.update(&welcome.epoch.to_le_bytes()).update(&welcome.nonce);
        match &welcome.set {
            None => {
                hasher.update(&[0]);
            }
            Some(head) => {
                hasher.update(&[1]);
                set(&mut hasher, head);
            }
        }
        hasher.update(&welcome.log.size.0.to_le_bytes()).update(welcome.log.root.as_bytes());
        hasher.update(&welcome.time.to_le_bytes());
        hasher.update(&[welcome.cursor.number()]).update(&welcome.symbols.to_le_bytes());
        front(&hasher)
    }

    /// The key of a session: the keyed hash of `"session"`, the session, and the responder's nonce.
    /// As each side chose one of the two, a recorded session is worth nothing.
    pub fn session_key(&self, session: &SessionId, nonce: &[u8; 16]) -> SessionKey {
        let mut hasher = blake3::Hasher::new_keyed(&self.peer);
        hasher.update(b"session").update(session).update(nonce);
        SessionKey::new(hasher.finalize().into())
    }

    /// Proof that a frame of gossip comes from somebody with the secret: 16 bytes of the keyed
    /// hash of its front and its payload.
    pub(crate) fn gossip_mac(&self, front: [u8; 2], payload: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.gossip);
        hasher.update(&front).update(payload);
        self::front(&hasher)
    }

    /// Bytes that stand for the cluster in what its nodes sign, so that a signature counts in one
    /// cluster only: 16 bytes of the keyed hash of `"signatures"`.
    pub(crate) fn gossip_context(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.gossip);
        hasher.update(b"signatures");
        front(&hasher)
    }
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keys").field("secret", &self.id.is_some()).finish_non_exhaustive()
    }
}

/// Whether two proofs or tokens are the same, in a time that does not depend on where they differ.
pub fn same(one: &[u8; 16], other: &[u8; 16]) -> bool {
    one.ct_eq(other).into()
}

fn set(hasher: &mut blake3::Hasher, head: &SetHead) {
    hasher.update(&head.count.to_le_bytes()).update(head.root.as_bytes());
}

pub(crate) fn front(hasher: &blake3::Hasher) -> [u8; 16] {
    let [front, _] = halves(hasher.finalize().as_bytes());
    front
}

/// The first and the last 16 bytes of 32.
pub(crate) fn halves(bytes: &Hash) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (half, bytes) in halves.iter_mut().zip(bytes.as_chunks::<16>().0) {
        *half = *bytes;
    }
    halves
}

#[cfg(test)]
mod tests;
