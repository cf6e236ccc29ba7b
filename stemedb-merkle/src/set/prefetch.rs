//! Prefetching of the memory that a batch will visit.
//!
//! In a large tree hardly any node that a batch visits lies in a cache, and a walk down one path
//! waits for each node to learn where the next one is. Many paths walked down side by side wait at
//! the same time, and the batch then finds them in the cache. It changes times and no result.

use std::sync::Arc;

use super::{
    bits::bits,
    mapped::layout::level_start,
    node::{Child, Node},
};
use crate::{id::Hash, internal::internal_error};

/// Number of paths that are walked side by side: the nodes on them fit a second-level cache, and
/// they keep more loads under way than a processor has.
pub(super) const PATHS_AT_ONCE: usize = 64;

/// Parts of a path that are prefetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrefetchDepth {
    /// Nodes.
    Nodes,
    /// Nodes and pages.
    Ids,
    /// Nodes, the hashes beside the path, and pages.
    Hashes,
    /// All that an insert reads: these, and the reference counts beside the path.
    All,
}

#[derive(Clone, Copy)]
struct Path<'a> {
    child: &'a Child,
    depth: usize,
    id: &'a Hash,
    /// Whether a snapshot has it too, so that it is copied and its children are counted up.
    shared: bool,
}

/// Prefetches the paths from a child at `depth` to the ids of these items.
pub(super) fn prefetch<'a, T>(
    child: &'a Child,
    depth: usize,
    items: &'a [T],
    id: impl Fn(&'a T) -> &'a Hash,
    wanted: PrefetchDepth,
) {
    for items in items.chunks(PATHS_AT_ONCE) {
        let Some(first) = items.first() else { return };
        let mut paths = [Path { child, depth, id: id(first), shared: false }; PATHS_AT_ONCE];
        for (path, item) in paths.iter_mut().zip(items) {
            path.id = id(item);
        }
        let mut open = items.len();
        let mut sum = 0;
        while open > 0 {
            let mut kept = 0;
            for at in 0..open {
                let Some(path) = paths.get(at) else { internal_error("an open path") };
                if let Some(below) = step(*path, wanted, &mut sum) {
                    let Some(place) = paths.get_mut(kept) else { internal_error("an open path") };
                    *place = below;
                    kept += 1;
                }
            }
            open = kept;
        }
        core::hint::black_box(sum);
    }
}

/// Visits one node or page of a path, and returns the rest of the path.
fn step<'a>(path: Path<'a>, wanted: PrefetchDepth, sum: &mut usize) -> Option<Path<'a>> {
    match path.child {
        Child::Empty | Child::Mapped => None,
        Child::Page(_) | Child::Over(_) if wanted == PrefetchDepth::Nodes => None,
        Child::Page(entries) => {
            *sum += entries.iter().map(|entry| usize::from(entry.id[0])).sum::<usize>();
            None
        }
        Child::Over(slots) => {
            *sum += slots.iter().map(|slot| usize::from(slot.id[0])).sum::<usize>();
            None
        }
        Child::Node2(node) => Some(node_step(node, path, wanted, sum)),
        Child::Node4(node) => Some(node_step(node, path, wanted, sum)),
        Child::Node8(node) => Some(node_step(node, path, wanted, sum)),
        Child::Node16(node) => Some(node_step(node, path, wanted, sum)),
    }
}

/// Visits one node of a path, and returns the rest of the path.
fn node_step<'a, const R: usize, const H: usize>(
    node: &'a Arc<Node<R, H>>,
    path: Path<'a>,
    wanted: PrefetchDepth,
    sum: &mut usize,
) -> Path<'a> {
    let shared = path.shared || Arc::strong_count(node) > 1;
    let (children, hashes) = node.parts();
    let count = R.trailing_zeros() as usize;
    let index = bits(path.id, path.depth, count);
    let depth = path.depth + count;
    if matches!(wanted, PrefetchDepth::All | PrefetchDepth::Hashes) {
        for level in 1..=count {
            let slot = level_start(level) + (index >> (count - level));
            let Some(sibling) = hashes.get(slot ^ 1) else { internal_error("a sibling") };
            *sum += usize::from(sibling[0]);
        }
    }
    if shared && wanted == PrefetchDepth::All {
        *sum += children.iter().map(Child::count).sum::<usize>();
    }
    let Some(child) = children.get(index) else { internal_error("a child") };
    Path { child, depth, id: path.id, shared }
}
