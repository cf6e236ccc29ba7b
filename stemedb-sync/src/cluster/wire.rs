//! The fields of frames. docs/protocol.md has the layout.
//!
//! Integers are little-endian. All decoders are total.

use super::member::{ADDRESS_LEN_MAX, GENERATION_MAX, Member};
use crate::message::NodeId;

/// Reason for which bytes of gossip were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It does not parse.
    #[error("a message of gossip does not parse")]
    Malformed,
    /// It is of another version.
    #[error("gossip of version {0} is not known here, only 2: the programs are too far apart")]
    Version(u8),
    /// Its maker does not have the secret.
    #[error("gossip from somebody with another cluster secret, or only one of the two has any")]
    Secret,
    /// Its sender is not who it says it is.
    #[error("gossip whose signature is not that of the node that it names")]
    Signature,
    /// It is too long.
    #[error("a message of gossip is longer than allowed")]
    TooLong,
    /// It names more members than a cluster may have.
    #[error("gossip names more members than a cluster may have")]
    TooManyMembers,
}

impl FrameError {
    /// A word for the cause, one of a few.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Version(_) => "version",
            Self::Signature => "signature",
            Self::Malformed | Self::TooLong | Self::TooManyMembers => "gossip",
        }
    }
}

/// Takes fields off the front of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length and so many bytes of printable ASCII: what comes from others may be shown.
    pub(super) fn text(&mut self, len_max: usize) -> Option<String> {
        let len = usize::from(self.u8()?);
        let (text, rest) = self.0.split_at_checked(len)?;
        let good = len <= len_max && text.iter().all(u8::is_ascii_graphic);
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok().filter(|_| good)
    }

    /// node 16, generation u64, length of the address u8, address.
    pub(super) fn member(&mut self) -> Option<(NodeId, u64, String)> {
        let (node, generation) = (self.array()?, self.u64()?);
        if generation > GENERATION_MAX {
            return None;
        }
        let address = self.text(ADDRESS_LEN_MAX).filter(|address| !address.is_empty())?;
        Some((node, generation, address))
    }
}

/// A text of at most 255 bytes; what is longer is cut.
pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let text = text.as_bytes();
    let text = text.get(..usize::from(u8::MAX)).unwrap_or(text);
    bytes.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    bytes.extend(text);
}

pub(super) fn put_member(bytes: &mut Vec<u8>, member: &Member) {
    bytes.extend(member.node);
    bytes.extend(member.generation.to_le_bytes());
    put_text(bytes, &member.address);
}
