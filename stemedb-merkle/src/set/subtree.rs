//! The part of a set below one prefix: the subject of the questions and answers of a sync session's
//! descent.

use std::sync::Arc;

use super::{
    cursor::Cursor,
    mapped::{MappedSet, MappedSetError},
    node::State,
    snapshot::Snapshot,
};
use crate::{
    bits::{ID_BITS, bit},
    hash::{self, EMPTY},
    id::Hash,
    internal::internal_error,
};

/// The ids of a snapshot that begin with a prefix.
#[derive(Clone, Debug)]
pub struct Subtree {
    cursor: Cursor,
    mapped: Option<Arc<MappedSet>>,
}

/// Hash of a subtree, and whether it holds none, one or more ids: the hashes above depend on both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// No ids.
    Empty,
    /// One id, whose leaf hash this is.
    One(Hash),
    /// Two ids or more.
    Many(Hash),
}

impl Summary {
    /// The summary of sorted ids that share their first `depth` bits. About two hashes an id.
    ///
    /// Of ids that are not sorted, or repeated, it is the summary of no set at all.
    pub fn of(ids: &[Hash], depth: usize) -> Self {
        match ids {
            [] => Self::Empty,
            [id] => Self::One(hash::leaf(id)),
            // Below the last bit only equal ids are left.
            _ if depth >= ID_BITS => Self::Many(EMPTY),
            _ => {
                let zeros = ids.partition_point(|id| !bit(id, depth));
                let (zeros, ones) = ids.split_at(zeros);
                Self::join(Self::of(zeros, depth + 1), Self::of(ones, depth + 1))
            }
        }
    }

    /// The summary of a subtree from those of its halves.
    pub fn join(left: Self, right: Self) -> Self {
        match (left, right) {
            (Self::Empty, Self::Empty | Self::One(_)) => right,
            (Self::One(_), Self::Empty) => left,
            _ => Self::Many(hash::node(&left.hash(), &right.hash())),
        }
    }

    /// The subtree's hash (SPEC section 2).
    pub fn hash(&self) -> Hash {
        match self {
            Self::Empty => EMPTY,
            Self::One(hash) | Self::Many(hash) => *hash,
        }
    }
}

impl Snapshot {
    /// The ids that begin with the first `depth` bits of `prefix`. O(`depth`).
    ///
    /// # Errors
    ///
    /// If a part of a mapped set on the way there is damaged.
    pub fn subtree(&self, prefix: &Hash, depth: usize) -> Result<Subtree, MappedSetError> {
        let mut subtree = Subtree { cursor: Cursor::top(self)?, mapped: self.mapped.clone() };
        for depth in 0..depth {
            subtree = subtree.half(bit(prefix, depth))?;
        }
        Ok(subtree)
    }
}

impl Subtree {
    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.cursor.is_empty()
    }

    /// The two halves: the ids with a 0 and with a 1 as their next bit.
    ///
    /// # Errors
    ///
    /// If that part of a mapped set is damaged.
    pub fn halves(&self) -> Result<[Self; 2], MappedSetError> {
        let halves = self.cursor.halves(self.mapped.as_deref())?;
        Ok(halves.map(|cursor| Self { cursor, mapped: self.mapped.clone() }))
    }

    fn half(&self, one: bool) -> Result<Self, MappedSetError> {
        let [zeros, ones] = self.cursor.halves(self.mapped.as_deref())?;
        Ok(Self { cursor: if one { ones } else { zeros }, mapped: self.mapped.clone() })
    }

    /// Hash and state. O(1), but where few ids are left, a hash for each of them.
    pub fn summary(&self) -> Summary {
        match (self.cursor.state(), &self.cursor) {
            (State::Empty, _) | (_, Cursor::Empty) => Summary::Empty,
            (State::One, Cursor::Inner { hash, .. }) => Summary::One(*hash),
            (State::Many, Cursor::Inner { hash, .. }) => Summary::Many(*hash),
            (_, Cursor::Page { depth, .. }) => {
                let Some(entries) = self.cursor.entries() else {
                    internal_error("the ids of a page")
                };
                let ids: Vec<Hash> = entries.iter().map(|entry| entry.id).collect();
                Summary::of(&ids, *depth)
            }
        }
    }

    /// The ids in order, if there are at most `most`. O(`most`).
    ///
    /// # Errors
    ///
    /// If a part of a mapped set is damaged.
    pub fn ids(&self, most: usize) -> Result<Option<Vec<Hash>>, MappedSetError> {
        let mut ids = Vec::new();
        let mut ahead = vec![self.cursor.clone()];
        while let Some(cursor) = ahead.pop() {
            if let Some(entries) = cursor.entries() {
                if ids.len() + entries.len() > most {
                    return Ok(None);
                }
                ids.extend(entries.iter().map(|entry| entry.id));
                continue;
            }
            // Each part still ahead holds an id or more.
            if ids.len() + ahead.len() + 1 > most {
                return Ok(None);
            }
            let [zeros, ones] = cursor.halves(self.mapped.as_deref())?;
            ahead.extend([ones, zeros].into_iter().filter(|half| !half.is_empty()));
        }
        Ok(Some(ids))
    }
}

#[cfg(test)]
mod tests;
