//! Loading of the nodes and pages that an insert will change, before it changes any.
//!
//! Every step that can fail is here. Nodes take their places in the tree as they are, hashes
//! included, so that the tree stays the same tree. Pages do not: they are merged with the new
//! entries, hashed, and kept apart until all of them are loaded.

use super::{
    bits::{bits, prefix, split_prefix},
    entry::Entry,
    mapped::{MappedSet, MappedSetError},
    node::{Child, State},
    plan::{Part, Plan},
    prefetch::{PATHS_AT_ONCE, PrefetchDepth, prefetch},
};
use crate::{hash::EMPTY, id::Hash, internal::internal_error};

/// Approximate number of ids of pages that are hashed at once: they fit a second-level cache.
const IDS_AT_ONCE: usize = 1024;

/// Number of pages that are prefetched together.
const PAGES_AT_ONCE: usize = 16;

/// A mapped page with new entries in it.
#[derive(Debug)]
pub(super) struct LoadedPage {
    pub(super) child: Child,
    pub(super) hash: Hash,
    pub(super) state: State,
    /// Number of new entries; if there are none, there is no child.
    pub(super) inserted: usize,
}

/// Loads all nodes on the paths to sorted entries, and merges each of their mapped pages with them,
/// in order. The tree's hashes do not change.
pub(super) fn load_path(
    top: &mut Child,
    new: &[Entry],
    mapped: &MappedSet,
    plan: &mut Plan,
    merged: &mut Vec<Entry>,
) -> Result<Vec<LoadedPage>, MappedSetError> {
    let mut runs = Vec::new();
    load_nodes(top, 0, new, new.len() == 1, mapped, &mut runs)?;
    let mut pages = mapped.pages();
    let mut loaded: Vec<LoadedPage> = Vec::with_capacity(runs.len());
    let mut parts = Vec::new();
    let mut ids = 0;
    plan.clear();
    for runs in runs.chunks(PAGES_AT_ONCE) {
        if runs.len() > 1 {
            pages.prefetch(runs.iter().filter_map(|run| run.first()).map(|entry| &entry.id));
        }
        for run in runs {
            let inserted = pages.merge(run, merged)?;
            let mut page =
                LoadedPage { child: Child::Empty, hash: EMPTY, state: State::Empty, inserted };
            if inserted > 0 {
                page.child = Child::build(merged, mapped.page_bits());
                parts.push(plan.child(&mut page.child, mapped.page_bits()));
                ids += merged.len();
            } else {
                parts.push(Part::EMPTY);
            }
            loaded.push(page);
        }
        if ids >= IDS_AT_ONCE {
            hash_pages(plan, &mut loaded, &mut parts);
            ids = 0;
        }
    }
    hash_pages(plan, &mut loaded, &mut parts);
    Ok(loaded)
}

/// Makes the hashes of the last pages, as many as there are parts.
fn hash_pages(plan: &mut Plan, loaded: &mut [LoadedPage], parts: &mut Vec<Part>) {
    plan.run();
    let from = loaded.len() - parts.len();
    let mut next = 0;
    for (page, part) in loaded.iter_mut().skip(from).zip(parts.drain(..)) {
        plan.fetch(&mut page.child, &mut next);
        page.hash = plan.hash(part);
        page.state = part.state();
    }
    plan.clear();
}

/// Loads nodes, and notes the entries of each mapped page.
fn load_nodes<'a>(
    child: &mut Child,
    depth: usize,
    new: &'a [Entry],
    mut prefetched: bool,
    mapped: &MappedSet,
    runs: &mut Vec<&'a [Entry]>,
) -> Result<(), MappedSetError> {
    let Some(first) = new.first() else { return Ok(()) };
    if let Child::Mapped = child {
        if depth == mapped.page_bits() {
            runs.push(new);
            return Ok(());
        }
        *child = mapped.load(depth, prefix(&first.id, depth))?;
    }
    if depth >= mapped.page_bits() {
        return Ok(());
    }
    if !prefetched && new.len() <= PATHS_AT_ONCE {
        prefetch(child, depth, new, |entry| &entry.id, PrefetchDepth::Nodes(mapped.page_bits()));
        prefetched = true;
    }
    let Some(node) = child.node_mut() else { return Ok(()) };
    let count = node.bits();
    let mut rest = new;
    while let Some(first) = rest.first() {
        let index = bits(&first.id, depth, count);
        let (here, behind) = split_prefix(rest, depth, count, index);
        rest = behind;
        let Some(below) = node.children.get_mut(index) else { internal_error("a child") };
        load_nodes(below, depth + count, here, prefetched, mapped, runs)?;
    }
    Ok(())
}
