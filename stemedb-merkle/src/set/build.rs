//! Building of the flat arrays of a base from sorted ids, a page at a time.

use super::{
    bits::prefix,
    entry::Entry,
    mapped::layout::{NODE_BITS_MAX, block_bits, page_bits},
    node::State,
    plan::Plan,
};
use crate::{
    hash::{self, EMPTY},
    id::Hash,
    internal::internal_error,
};

/// Approximate number of ids that are hashed at once.
const IDS_AT_ONCE: usize = 1024;

/// Takes in all entries of a set, sorted, and makes the page starts and hashes of their base.
///
/// Takes 64 bytes of memory a page, that is 3 to 6 an id, and about 30 ns an id.
#[derive(Debug)]
pub struct BaseBuilder {
    page_bits: usize,
    /// The entries of pages that are not hashed yet.
    pending: Vec<Entry>,
    /// The place of the first id of each page begun.
    starts: Vec<u32>,
    taken: u32,
    last: Option<Hash>,
    /// The hash of each page hashed.
    pages: Vec<Hash>,
    states: Vec<State>,
    plan: Plan,
}

/// The page starts and hashes of a base.
#[derive(Debug)]
pub struct BaseHashes {
    /// Number of bits of an id that name its page.
    pub page_bits: usize,
    /// The place of the first id of each page, and one more: the number of ids.
    pub starts: Vec<u32>,
    /// The hash of the uppermost subtree.
    pub top_hash: Hash,
    /// The hashes below it, by the number of their bits.
    levels: Vec<Vec<Hash>>,
}

/// Reason why entries do not make a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An id is not above the one before.
    #[error("the ids for a checkpoint are not in order, which is a fault of this program")]
    Order,
    /// 2^32 ids or more.
    #[error(
        "the set has 4,294,967,296 ids or more, which is more than the base of a restart \
         checkpoint holds; opening replays what the last checkpoint does not cover"
    )]
    TooMany,
    /// More or fewer than announced.
    #[error("{len} ids were announced for a checkpoint and others came")]
    Len {
        /// Number of ids announced.
        len: u64,
    },
}

impl BaseBuilder {
    /// Begins a base of `len` ids.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooMany`] for 2^32 or more.
    pub fn new(len: u64) -> Result<Self, BuildError> {
        if u32::try_from(len).is_err() {
            return Err(BuildError::TooMany);
        }
        let page_bits = page_bits(len);
        Ok(Self {
            page_bits,
            pending: Vec::with_capacity(IDS_AT_ONCE + 64),
            starts: Vec::with_capacity((1 << page_bits) + 1),
            taken: 0,
            last: None,
            pages: Vec::with_capacity(1 << page_bits),
            states: Vec::with_capacity(1 << page_bits),
            plan: Plan::default(),
        })
    }

    /// Takes in the next entry.
    ///
    /// # Errors
    ///
    /// If its id is not above the last one, or it is the 2^32nd.
    pub fn push(&mut self, entry: &Entry) -> Result<(), BuildError> {
        if self.last.is_some_and(|last| last >= entry.id) {
            return Err(BuildError::Order);
        }
        let page = prefix(&entry.id, self.page_bits);
        while self.starts.len() as u64 <= page {
            if self.pending.len() >= IDS_AT_ONCE {
                self.hash_pages();
            }
            self.starts.push(self.taken);
        }
        self.last = Some(entry.id);
        // Places of ids have four bytes.
        self.taken = self.taken.checked_add(1).ok_or(BuildError::TooMany)?;
        self.pending.push(*entry);
        Ok(())
    }

    /// Hashes the pages that are complete: all that were begun.
    fn hash_pages(&mut self) {
        self.plan.clear();
        let first = self.pages.len();
        let mut parts = Vec::with_capacity(IDS_AT_ONCE / 8);
        let mut rest = self.pending.as_slice();
        let ends = self.starts.iter().skip(first + 1).copied().chain([self.taken]);
        let Some(mut start) = self.starts.get(first).copied() else { internal_error("a page") };
        for end in ends.take(self.starts.len() - first) {
            let (page, behind) = rest.split_at((end - start) as usize);
            parts.push(self.plan.page(page, self.page_bits));
            rest = behind;
            start = end;
        }
        self.plan.run();
        for part in parts {
            self.pages.push(self.plan.hash(part));
            self.states.push(part.state());
        }
        self.pending.clear();
    }

    /// Makes the hashes above the pages.
    ///
    /// # Errors
    ///
    /// If other than the announced number of entries came.
    pub fn finish(mut self, len: u64) -> Result<BaseHashes, BuildError> {
        if u64::from(self.taken) != len {
            return Err(BuildError::Len { len });
        }
        self.starts.resize(1 << self.page_bits, self.taken);
        self.hash_pages();
        self.starts.push(self.taken);
        let mut levels = vec![self.pages];
        let mut states = self.states;
        for _ in 0..self.page_bits {
            let (level, above) = match levels.last() {
                Some(below) => fold(below, &states),
                None => break,
            };
            levels.push(level);
            states = above;
        }
        let top_hash = levels.pop().and_then(|top| top.first().copied());
        let top_hash = top_hash.unwrap_or_else(|| internal_error("the uppermost subtree"));
        levels.reverse();
        Ok(BaseHashes { page_bits: self.page_bits, starts: self.starts, top_hash, levels })
    }
}

/// The hashes and states one level up.
fn fold(below: &[Hash], states: &[State]) -> (Vec<Hash>, Vec<State>) {
    let mut level = Vec::with_capacity(below.len() / 2);
    let mut above = Vec::with_capacity(below.len() / 2);
    for (hashes, states) in below.chunks(2 * IDS_AT_ONCE).zip(states.chunks(2 * IDS_AT_ONCE)) {
        let pairs = hashes.as_chunks::<2>().0;
        let start = level.len();
        level.resize(start + pairs.len(), EMPTY);
        let Some(made) = level.get_mut(start..) else { internal_error("room for its hashes") };
        hash::nodes(
            |at| pairs.get(at).unwrap_or_else(|| internal_error("two halves")).each_ref(),
            made,
        );
        let halves = hashes.as_chunks::<2>().0.iter().zip(states.as_chunks::<2>().0);
        for (hash, ([left, right], [left_state, right_state])) in made.iter_mut().zip(halves) {
            match (left_state, right_state) {
                (State::Empty, State::Empty | State::One) => *hash = *right,
                (State::One, State::Empty) => *hash = *left,
                _ => {}
            }
            above.push(left_state.join(*right_state));
        }
    }
    (level, above)
}

impl BaseHashes {
    /// All hashes below the uppermost, in the order in which a base keeps them: block by block, by
    /// depth and then by prefix; in a block first the halves, then the quarters, and so on.
    pub fn blocks(&self) -> impl Iterator<Item = &[Hash]> {
        (0..self.page_bits).step_by(NODE_BITS_MAX).flat_map(move |depth| {
            let bits = block_bits(depth, self.page_bits);
            (0..1_usize << depth).flat_map(move |prefix| {
                (1..=bits).map(move |level| {
                    let width = 1 << level;
                    self.levels
                        .get(depth + level - 1)
                        .and_then(|hashes| hashes.get(prefix * width..(prefix + 1) * width))
                        .unwrap_or_else(|| internal_error("a block of hashes"))
                })
            })
        })
    }
}
