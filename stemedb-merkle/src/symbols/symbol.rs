//! A coded symbol.

use crate::internal::internal_error;

/// The first 16 bytes of an id.
pub type Prefix = [u8; 16];

/// A coded symbol: the sum of the ids that are mapped to its index.
///
/// 32 bytes. Everything wraps: no symbol that a peer can send makes arithmetic fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Symbol {
    /// The xor of the prefixes, read as little-endian integers.
    pub sum: u128,
    /// The xor of their [checks](super::CheckKey::check).
    pub check: u64,
    /// Number of ids; after subtraction, the number of local ones less that of remote ones.
    pub count: i64,
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
    pub(super) fn add(&mut self, prefix: u128, check: u64, times: i64) {
        self.sum ^= prefix;
        self.check ^= check;
        self.count = self.count.wrapping_add(times);
    }
}

/// The prefix of an id as a little-endian integer.
pub(super) fn prefix_of(id: &[u8; 32]) -> u128 {
    let Some(prefix) = id.first_chunk() else { internal_error("the prefix of an id") };
    u128::from_le_bytes(*prefix)
}
