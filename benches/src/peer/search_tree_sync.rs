//! merkle-search-tree: one side sends the bounds and hashes of all pages, then both send ids where
//! they differ.

use std::time::Duration;

use merkle_search_tree::diff::{DiffRange, diff};

use super::search_tree::{Tree, tree};
use crate::Failure;
use crate::contest::Sample;
use crate::cpu;
use crate::differing::Differing;
use crate::measure::sync_find::{PREFIX_LEN, sample};

type Id = [u8; 32];

const HASH_LEN: usize = 16;
const ID_LEN: usize = 32;
/// First and last id of a page, and its hash.
const PAGE_LEN: usize = 2 * ID_LEN + HASH_LEN;

/// One side: the tree, and the ids sorted, as the tree has no way to ask for a range.
struct Side {
    tree: Tree,
    sorted: Vec<Id>,
}

impl Side {
    fn new(ids: &[Id]) -> Self {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        Self { tree: tree(ids), sorted }
    }

    fn within<'a>(&'a self, ranges: &[DiffRange<'_, Id>]) -> Vec<&'a Id> {
        let mut found = Vec::new();
        for range in ranges {
            let first = self.sorted.partition_point(|id| id < range.start());
            let ids = self.sorted.get(first..).unwrap_or_default();
            found.extend(ids.iter().take_while(|id| *id <= range.end()));
        }
        found
    }

    /// Those of the peer's ids that are missing here.
    fn lacks(&self, theirs: &[&Id]) -> usize {
        theirs.iter().filter(|id| self.sorted.binary_search(id).is_err()).count()
    }
}

/// Three rounds: roots; the initiator's pages against the responder's wishes and ids; the
/// initiator's ids.
///
/// Who has both lists of pages works out both differences, so that pages travel one way only.
pub(crate) fn find(sets: &Differing) -> Result<Sample, Failure> {
    let (one, other) = (Side::new(&sets.one), Side::new(&sets.other));
    let mut initiator = Duration::ZERO;
    let mut responder = Duration::ZERO;
    let mut bytes = 2 * (HASH_LEN + PREFIX_LEN);
    let mut rounds = 1;
    if sets.by > 0 {
        let none = "merkle-search-tree gave no pages";
        let (mine, took) = cpu::timed(|| one.tree.serialise_page_ranges());
        initiator += took;
        let mine = mine.ok_or(none)?;
        bytes += mine.len() * PAGE_LEN + PREFIX_LEN;
        let (answer, took) = cpu::timed(|| {
            let theirs = other.tree.serialise_page_ranges()?;
            let wanted = diff(theirs.clone(), mine.clone());
            let given = other.within(&diff(mine.clone(), theirs));
            Some((wanted, given))
        });
        responder += took;
        let (wanted, given) = answer.ok_or(none)?;
        bytes += wanted.len() * 2 * ID_LEN + given.len() * ID_LEN + PREFIX_LEN;
        let ((lacked, ids), took) = cpu::timed(|| (one.lacks(&given), one.within(&wanted)));
        initiator += took;
        bytes += ids.len() * ID_LEN + 2 * PREFIX_LEN;
        let (lacked_there, took) = cpu::timed(|| other.lacks(&ids));
        responder += took;
        rounds += 2;
        let found = lacked + lacked_there;
        if found as u64 != sets.by {
            return Err(format!("found {found} of {} differences only", sets.by).into());
        }
    }
    Ok(sample(&[(bytes as u64, rounds, initiator, responder)]))
}
