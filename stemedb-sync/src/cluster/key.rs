//! Keys of nodes: each node signs what it says of itself (Ed25519, RFC 8032).

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::keys::Keys;

/// Length of the seed of a [`NodeKey`], in bytes.
pub const NODE_KEY_LEN: usize = 32;

/// Length of a signature, in bytes.
pub(super) const SIGNATURE_LEN: usize = 64;

/// The public half of a [`NodeKey`].
pub type PublicKey = [u8; 32];

/// The private key by which a node proves that it is the holder of its node id.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl NodeKey {
    /// The key of a seed: 32 random bytes that nobody else knows.
    pub fn from_seed(seed: &[u8; NODE_KEY_LEN]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.0.verifying_key().to_bytes()
    }

    /// Secret bytes that follow from the key, for a use that no other has.
    pub(super) fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, self.0.as_bytes())
    }

    pub(super) fn sign(&self, keys: &Keys, what: Signed, bytes: &[&[u8]]) -> [u8; SIGNATURE_LEN] {
        self.0.sign(&message(keys, what, bytes)).to_bytes()
    }
}

impl core::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("NodeKey").field(&self.public()).finish()
    }
}

/// Topic of a signature. A signature of one kind is never one of another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Signed {
    Record,
    Frame,
    Head,
}

/// Whether the holder of a key signed these bytes. Keys and signatures that allow more than one
/// signature of a message to verify are refused.
pub(super) fn verify(
    keys: &Keys,
    key: &PublicKey,
    what: Signed,
    bytes: &[&[u8]],
    signature: &[u8; SIGNATURE_LEN],
) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(key) else { return false };
    let signature = Signature::from_bytes(signature);
    key.verify_strict(&message(keys, what, bytes), &signature).is_ok()
}

/// The bytes that are signed: what they are, of which cluster, and the bytes themselves.
fn message(keys: &Keys, what: Signed, bytes: &[&[u8]]) -> Vec<u8> {
    let what: &[u8] = match what {
        Signed::Record => b"stemedb gossip 2 record\0",
        Signed::Frame => b"stemedb gossip 2 frame\0",
        Signed::Head => b"stemedb gossip 2 head\0",
    };
    let mut message = [what, keys.gossip_context().as_slice()].concat();
    for bytes in bytes {
        message.extend_from_slice(bytes);
    }
    message
}
