//! Records: what a node says of itself, signed, so that others can pass it on and nobody can make
//! it up.
//!
//! ```text
//! member (node id 16, generation u64, address) | incarnation u16 | left u8 | key 32 | signature 64
//! ```

use super::{
    key::{NodeKey, PublicKey, SIGNATURE_LEN, Signed, verify},
    member::Member,
    wire::{Reader, put_member},
};
use crate::keys::Keys;

/// Record of a node, by its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) member: Member,
    /// Raised by the node whenever it is suspected without reason.
    pub(super) incarnation: u16,
    /// Whether it has said good-bye.
    pub(super) left: bool,
    signature: [u8; SIGNATURE_LEN],
}

impl Record {
    /// Signs what a node says of itself.
    pub(super) fn sign(
        keys: &Keys,
        key: &NodeKey,
        member: Member,
        incarnation: u16,
        left: bool,
    ) -> Self {
        let mut record = Self { member, incarnation, left, signature: [0; SIGNATURE_LEN] };
        record.signature = key.sign(keys, Signed::Record, &[&record.content()]);
        record
    }

    /// Whether the holder of its key signed it.
    pub(super) fn verify(&self, keys: &Keys) -> bool {
        verify(keys, &self.member.key, Signed::Record, &[&self.content()], &self.signature)
    }

    /// Which of two records of a key is the later one.
    pub(super) fn rank(&self) -> (u64, u16, bool) {
        (self.member.generation, self.incarnation, self.left)
    }

    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.content());
        bytes.extend(self.signature);
    }

    /// Reads a record, without a look at its signature.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (node, generation, address) = reader.member()?;
        let incarnation = reader.u16()?;
        let left = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let key: PublicKey = reader.array()?;
        let member = Member { node, key, generation, address };
        Some(Self { member, incarnation, left, signature: reader.array()? })
    }

    /// All but the signature.
    fn content(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        put_member(&mut bytes, &self.member);
        bytes.extend(self.incarnation.to_le_bytes());
        bytes.push(self.left.into());
        bytes.extend(self.member.key);
        bytes
    }
}
