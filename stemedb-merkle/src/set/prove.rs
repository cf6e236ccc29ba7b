//! Proofs that an id is in the tree, or is not.

use super::{
    bits::{bits, prefix, set_bits, split_bit},
    entry::Entry,
    mapped::{MappedSetError, layout::level_start},
    node::{Child, State},
    overlay,
    plan::{Part, Plan},
    snapshot::Snapshot,
};
use crate::{
    bits::{ID_BITS, bit},
    hash::EMPTY,
    id::Hash,
    proof::{SetProof, Terminal},
};

impl Snapshot {
    /// Proves that the id is there or that it is not. O(log N).
    ///
    /// # Errors
    ///
    /// If the part of a mapped set that it belongs to is damaged.
    pub fn prove(&self, id: &Hash) -> Result<SetProof, MappedSetError> {
        let mut siblings = Vec::with_capacity(40);
        let terminal = descend(self, id, &mut siblings)?;
        let proof = SetProof { id: *id, count: self.count, siblings, terminal };
        // A file whose checksums hold can still be wrong; what was never in one is as it was made.
        if let Some(mapped) = &self.mapped {
            proof.verify(&self.root).map_err(|_| mapped.inconsistent())?;
        } else {
            debug_assert!(proof.verify(&self.root).is_ok(), "a hash of a proof");
        }
        Ok(proof)
    }
}

/// Follows the bits of the id, noting the siblings, until a subtree holds one id or none.
fn descend(
    snapshot: &Snapshot,
    id: &Hash,
    siblings: &mut Vec<Hash>,
) -> Result<Terminal, MappedSetError> {
    let mut child = snapshot.top.clone();
    let mut depth = 0;
    if snapshot.count < 2 {
        return only(snapshot, child, 0, id);
    }
    loop {
        if let (Child::Mapped | Child::Over(_), Some(mapped)) = (&child, &snapshot.mapped) {
            if depth == mapped.page_bits() {
                let mut entries = Vec::new();
                overlay::entries(mapped, &child, depth, prefix(id, depth), &mut entries)?;
                return Ok(descend_page(&entries, depth, id, siblings));
            }
            child = overlay::load(mapped, &child, depth, prefix(id, depth))?;
        }
        let Some(node) = child.node() else {
            let Child::Page(entries) = &child else { return Ok(Terminal::Empty) };
            return Ok(descend_page(entries, depth, id, siblings));
        };
        let count = node.bits();
        for level in 1..=count {
            let slot = level_start(level) + bits(id, depth, level);
            siblings.push(node.hash(slot ^ 1));
            match node.state(slot) {
                State::Many => {}
                State::Empty => return Ok(Terminal::Empty),
                State::One => {
                    // The only child that is not empty among those below the slot.
                    let width = 1 << (count - level);
                    let first = bits(id, depth, level) * width;
                    let below = (first..first + width)
                        .find(|index| !matches!(node.child(*index), Child::Empty));
                    let Some(index) = below else { return Ok(Terminal::Empty) };
                    let mut path = *id;
                    set_bits(&mut path, depth, count, index);
                    return only(snapshot, node.child(index).clone(), depth + count, &path);
                }
            }
        }
        let below = node.child(bits(id, depth, count)).clone();
        child = below;
        depth += count;
    }
}

/// The only id of a subtree that holds at most one; `path` begins with the subtree's bits.
fn only(
    snapshot: &Snapshot,
    mut child: Child,
    mut depth: usize,
    path: &Hash,
) -> Result<Terminal, MappedSetError> {
    let mut path = *path;
    loop {
        if let (Child::Mapped | Child::Over(_), Some(mapped)) = (&child, &snapshot.mapped) {
            let mut entries = Vec::new();
            overlay::entries(mapped, &child, depth, prefix(&path, depth), &mut entries)?;
            child = Child::page(&entries);
        }
        if let Child::Page(entries) = &child {
            return Ok(entries.first().map_or(Terminal::Empty, |entry| Terminal::Id(entry.id)));
        }
        let Some(node) = child.node() else { return Ok(Terminal::Empty) };
        let count = node.bits();
        let full = (0..1 << count).find(|index| !matches!(node.child(*index), Child::Empty));
        let Some(index) = full else { return Ok(Terminal::Empty) };
        set_bits(&mut path, depth, count, index);
        let below = node.child(index).clone();
        child = below;
        depth += count;
    }
}

/// The rest of the way through a page: the siblings there have to be made.
fn descend_page(entries: &[Entry], depth: usize, id: &Hash, siblings: &mut Vec<Hash>) -> Terminal {
    let mut plan = Plan::default();
    plan.clear();
    let mut parts: Vec<Part> = Vec::with_capacity(16);
    let mut here = entries;
    for depth in depth..ID_BITS {
        if here.len() < 2 {
            break;
        }
        let (zeros, ones) = split_bit(here, depth);
        let (ours, other) = if bit(id, depth) { (ones, zeros) } else { (zeros, ones) };
        parts.push(plan.page(other, depth + 1));
        here = ours;
    }
    plan.run();
    siblings.extend(parts.into_iter().map(|part| plan.hash(part)));
    here.first().map_or(Terminal::Empty, |entry| Terminal::Id(entry.id))
}

const _: () = assert!(EMPTY[0] == 0, "the sibling of a full half is written as zeros");
