//! Growing of the subtrees that lie in the mapped set, before an insert changes any node.
//!
//! Every step that can fail is here. Nodes over overlay pages may be widened in their places, which
//! changes neither the set nor a hash. Subtrees with new ids in them are made, hashed, and kept
//! apart until all of them are there.

use super::{
    bits::split_prefix,
    entry::Entry,
    mapped::{MappedSet, MappedSetError},
    node::{Child, State},
    overlay::{Grown, NEW_AT_ONCE, Overlay, is_over, slots},
    plan::{Part, Plan},
    prefetch::{PATHS_AT_ONCE, PrefetchDepth, prefetch},
    slot::Slot,
};
use crate::{hash::EMPTY, internal::internal_error};

/// Number of subtrees whose pages are prefetched together.
const RUNS_AT_ONCE: usize = 16;

/// New entries of a subtree that lies in the mapped set, and those that are over it already.
struct Run<'a> {
    old: &'a [Slot],
    new: &'a [Entry],
    depth: usize,
}

/// Whether an insert finds a subtree's place taken by one that was grown.
pub(super) fn is_grown(child: &Child, depth: usize, page_bits: usize) -> bool {
    is_over(child) || depth < page_bits && matches!(child, Child::Empty)
}

/// Grows all subtrees of the mapped set that sorted entries belong to, in order. The set and its
/// hashes do not change.
pub(super) fn load_path(
    top: &mut Child,
    new: &[Entry],
    mapped: &MappedSet,
    plan: &mut Plan,
    merged: &mut Vec<Entry>,
) -> Result<Vec<Grown>, MappedSetError> {
    let mut runs = Vec::new();
    let mut overlay = Overlay::new(mapped, plan, merged);
    find_runs(top, 0, new, new.len() == 1, &mut overlay, &mut runs)?;
    let mut grown: Vec<Grown> = Vec::with_capacity(runs.len());
    let mut parts = Vec::new();
    let mut planned = 0;
    overlay.plan.clear();
    for runs in runs.chunks(RUNS_AT_ONCE) {
        if runs.len() > 1 {
            prefetch_slots(runs);
            let small = runs.iter().filter(|run| run.new.len() <= NEW_AT_ONCE);
            overlay.prefetch(small.map(|run| (run.old, run.new)));
        }
        for run in runs {
            if run.new.len() > NEW_AT_ONCE || runs.len() == 1 {
                hash_planned(overlay.plan, &mut grown, &mut parts);
                grown.push(overlay.insert(run.old, run.new, run.depth)?);
                overlay.plan.clear();
                continue;
            }
            let (child, part, inserted) = overlay.plan_insert(run.old, run.new, run.depth)?;
            grown.push(Grown { child, hash: EMPTY, state: State::Empty, inserted });
            parts.push(part);
            planned += run.new.len();
            if planned >= NEW_AT_ONCE {
                hash_planned(overlay.plan, &mut grown, &mut parts);
                planned = 0;
            }
        }
    }
    hash_planned(overlay.plan, &mut grown, &mut parts);
    Ok(grown)
}

/// Reads a byte of each slot, so that their cache lines come side by side.
fn prefetch_slots(runs: &[Run<'_>]) {
    let slots = runs.iter().flat_map(|run| run.old);
    core::hint::black_box(slots.map(|slot| usize::from(slot.id[0])).sum::<usize>());
}

/// Makes the hashes of the last subtrees, as many as there are parts.
fn hash_planned(plan: &mut Plan, grown: &mut [Grown], parts: &mut Vec<Part>) {
    plan.run();
    let from = grown.len() - parts.len();
    let mut next = 0;
    for (grown, part) in grown.iter_mut().skip(from).zip(parts.drain(..)) {
        plan.fetch(&mut grown.child, &mut next);
        grown.hash = plan.hash(part);
        grown.state = part.state();
    }
    plan.clear();
}

/// Finds the entries of each subtree that lies in the mapped set, and widens nodes over too many.
fn find_runs<'a>(
    child: &'a mut Child,
    depth: usize,
    new: &'a [Entry],
    mut prefetched: bool,
    overlay: &mut Overlay<'_>,
    runs: &mut Vec<Run<'a>>,
) -> Result<(), MappedSetError> {
    let page_bits = overlay.page_bits();
    if is_grown(child, depth, page_bits) {
        runs.push(Run { old: slots(child), new, depth });
        return Ok(());
    }
    if depth >= page_bits {
        return Ok(());
    }
    if !prefetched && new.len() <= PATHS_AT_ONCE {
        prefetch(child, depth, new, |entry| &entry.id, PrefetchDepth::Nodes);
        prefetched = true;
    }
    overlay.widen(child, depth, new.len())?;
    let Some(node) = child.node_mut() else { internal_error("an inner node") };
    let count = node.bits();
    let mut rest = new;
    for (index, below) in node.children.iter_mut().enumerate() {
        let (here, behind) = split_prefix(rest, depth, count, index);
        rest = behind;
        if !here.is_empty() {
            find_runs(below, depth + count, here, prefetched, overlay, runs)?;
        }
    }
    Ok(())
}
