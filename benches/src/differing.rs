//! Two sets of ids that differ, the same in every run.

use crate::body;

/// Two sets of which each lacks as many of the other's ids.
pub(crate) struct Differing {
    pub(crate) one: Vec<[u8; 32]>,
    pub(crate) other: Vec<[u8; 32]>,
    pub(crate) by: u64,
    /// Number of the first body of this round, of which no other round has any.
    pub(crate) first: u64,
}

impl Differing {
    /// `union` ids in both sets together, of which `by` are in one set only, half of them in each.
    /// Which these are differs from round to round, and so do they.
    pub(crate) fn new(union: u64, by: u64, round: u64) -> Self {
        let common = body::ids(0, union - by);
        let first = (1 << 50) + (round << 32);
        let mut one = common.clone();
        one.extend(body::ids(first, by / 2));
        let mut other = common;
        other.extend(body::ids(first + (1 << 31), by / 2));
        Self { one, other, by, first }
    }

    /// The ids in both sets.
    pub(crate) fn common(&self) -> &[[u8; 32]] {
        &self.one[..self.one.len() - self.by as usize / 2]
    }
}
