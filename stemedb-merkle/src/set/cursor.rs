//! A place in a tree, a bit at a time, in nodes, pages and mapped sets alike.

use std::sync::Arc;

use super::{
    bits::split_bit,
    entry::Entry,
    mapped::{MappedSet, MappedSetError, layout::level_start},
    node::{Child, State},
    overlay,
    snapshot::Snapshot,
};
use crate::{hash, id::Hash, internal::internal_error};

/// The subtree of one prefix.
#[derive(Clone, Debug)]
pub(crate) enum Cursor {
    /// No ids.
    Empty,
    /// Some entries of a page.
    Page { entries: Arc<[Entry]>, from: usize, to: usize, depth: usize },
    /// A subtree inside or at the top of a node, of `level` bits below it.
    Inner { node: Child, depth: usize, prefix: u64, level: usize, index: usize, hash: Hash },
}

impl Cursor {
    /// The whole tree.
    pub(crate) fn top(snapshot: &Snapshot) -> Result<Self, MappedSetError> {
        let mapped = snapshot.mapped.as_deref();
        Self::of(snapshot.top.clone(), 0, 0, snapshot.top_hash, mapped)
    }

    fn of(
        child: Child,
        depth: usize,
        prefix: u64,
        hash: Hash,
        mapped: Option<&MappedSet>,
    ) -> Result<Self, MappedSetError> {
        match (child, mapped) {
            (Child::Page(entries), _) => {
                Ok(Self::Page { from: 0, to: entries.len(), entries, depth })
            }
            (child @ (Child::Mapped | Child::Over(_)), Some(mapped)) => {
                if depth == mapped.page_bits() {
                    let mut entries = Vec::new();
                    overlay::entries(mapped, &child, depth, prefix, &mut entries)?;
                    let (from, to) = (0, entries.len());
                    return Ok(Self::Page { from, to, entries: entries.into(), depth });
                }
                let node = overlay::load(mapped, &child, depth, prefix)?;
                Ok(Self::Inner { node, depth, prefix, level: 0, index: 0, hash })
            }
            (Child::Mapped | Child::Over(_), None) => internal_error("the mapped set"),
            (Child::Empty, _) => Ok(Self::Empty),
            (node, _) => Ok(Self::Inner { node, depth, prefix, level: 0, index: 0, hash }),
        }
    }

    /// Whether it has no ids.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Page { from, to, .. } => from == to,
            Self::Inner { .. } => false,
        }
    }

    /// Whether it holds none, one or more ids.
    pub(crate) fn state(&self) -> State {
        match self {
            Self::Empty => State::Empty,
            Self::Page { from, to, .. } => State::of(to - from),
            Self::Inner { node, level, index, .. } => {
                let Some(node) = node.node() else { internal_error("an inner node") };
                match level {
                    0 => node.state(0).join(node.state(1)),
                    _ => node.state(level_start(*level) + index),
                }
            }
        }
    }

    /// The entries, if they are few and at hand.
    pub(crate) fn entries(&self) -> Option<&[Entry]> {
        match self {
            Self::Empty => Some(&[]),
            Self::Page { entries, from, to, .. } => entries.get(*from..*to),
            Self::Inner { .. } => None,
        }
    }

    /// The subtree's hash, if it is at hand.
    pub(crate) fn hash(&self) -> Option<Hash> {
        match self {
            Self::Empty => Some(hash::EMPTY),
            Self::Page { .. } => match self.entries()? {
                [] => Some(hash::EMPTY),
                [entry] => Some(hash::leaf(&entry.id)),
                _ => None,
            },
            Self::Inner { hash, .. } => Some(*hash),
        }
    }

    /// The two halves of the subtree.
    pub(crate) fn halves(&self, mapped: Option<&MappedSet>) -> Result<[Self; 2], MappedSetError> {
        match self {
            Self::Empty => Ok([Self::Empty, Self::Empty]),
            Self::Page { entries, from, to, depth } => {
                let Some(here) = self.entries() else { internal_error("the ids of a page") };
                let (zeros, _) = split_bit(here, *depth);
                let middle = from + zeros.len();
                let half = |from, to| Self::Page {
                    entries: Arc::clone(entries),
                    from,
                    to,
                    depth: depth + 1,
                };
                Ok([half(*from, middle), half(middle, *to)])
            }
            Self::Inner { node, depth, prefix, level, index, .. } => {
                let Some(inner) = node.node() else { internal_error("an inner node") };
                let bits = inner.bits();
                let level = level + 1;
                let half = |side: usize| {
                    let index = 2 * index + side;
                    let slot = level_start(level) + index;
                    if inner.state(slot) == State::Empty {
                        Ok(Self::Empty)
                    } else if level == bits {
                        let prefix = prefix << bits | index as u64;
                        let child = inner.child(index).clone();
                        Self::of(child, depth + bits, prefix, inner.hash(slot), mapped)
                    } else {
                        Ok(Self::Inner {
                            node: node.clone(),
                            depth: *depth,
                            prefix: *prefix,
                            level,
                            index,
                            hash: inner.hash(slot),
                        })
                    }
                };
                Ok([half(0)?, half(1)?])
            }
        }
    }
}
