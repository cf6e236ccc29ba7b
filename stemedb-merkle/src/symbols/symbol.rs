//! A coded symbol.

use crate::internal::internal_error;

/// The first 8 bytes of an id.
pub type Prefix = [u8; 8];

/// A coded symbol: the sum of the ids that are mapped to its index.
///
/// 16 bytes. Everything wraps: no symbol that a peer can send makes arithmetic fail. Of a larger
/// set the count is known modulo 2^32, which a difference that symbols can find does not reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    /// The xor of the prefixes, read as little-endian integers.
    pub sum: u64,
    /// The xor of the lower halves of their [hashes](super::CheckKey::hash).
    pub check: u32,
    /// Number of ids; after subtraction, the number of local ones less that of remote ones.
    pub count: i32,
}

impl Symbol {
    /// Whether it holds no id, or ids that cancel.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The ids that this has and `other` has not, less those that `other` has and this has not.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            sum: self.sum ^ other.sum,
            check: self.check ^ other.check,
            count: self.count.wrapping_sub(other.count),
        }
    }

    /// Adds an id `times` over: -1 takes it out.
    #[inline]
    pub(super) fn add(&mut self, prefix: u64, check: u32, times: i32) {
        self.sum ^= prefix;
        self.check ^= check;
        self.count = self.count.wrapping_add(times);
    }
}

/// The prefix of an id as a little-endian integer.
pub(super) fn prefix_of(id: &[u8; 32]) -> u64 {
    let Some(prefix) = id.first_chunk() else { internal_error("the prefix of an id") };
    u64::from_le_bytes(*prefix)
}

/// The check of an id with this [hash](super::CheckKey::hash): its lower half.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
pub(super) fn check_of(hash: u64) -> u32 {
    hash as u32
}
