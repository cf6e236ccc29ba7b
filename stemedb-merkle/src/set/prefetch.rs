//! Asking for the memory that inserts will visit before they visit it.
//!
//! In a large tree hardly anything that a batch visits lies in a cache, and a walk down one path
//! waits for each node to learn where the next one is. Walked down side by side, many paths wait
//! at the same time: what follows then finds all of them in the cache. It changes how long things
//! take and nothing else.

use std::sync::Arc;

use super::node::{Child, Node, bits, level_start};
use crate::Hash;

/// So many paths are walked side by side: what lies on them fits a second-level cache, and they
/// keep more loads under way than a processor has.
pub(super) const PATHS_AT_ONCE: usize = 64;

/// How much of a path is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PrefetchDepth {
    /// The nodes above this depth.
    Nodes(usize),
    /// Nodes and pages.
    Ids,
    /// Nodes, the hashes beside the path, and pages.
    Hashes,
    /// All that an insert reads: these, and who else has what is beside the path.
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

/// Asks for what lies on the paths from a child at `depth` to the ids of these items.
pub(super) fn prefetch<'a, T>(
    child: &'a Child,
    depth: usize,
    items: &'a [T],
    id: impl Fn(&'a T) -> &'a Hash,
    depth_wanted: PrefetchDepth,
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
                let Some(path) = paths.get(at) else { break };
                if let Some(below) = step(*path, depth_wanted, &mut sum)
                    && let Some(place) = paths.get_mut(kept)
                {
                    *place = below;
                    kept += 1;
                }
            }
            open = kept;
        }
        core::hint::black_box(sum);
    }
}

/// One node or page of a path, and what is below it.
fn step<'a>(path: Path<'a>, depth_wanted: PrefetchDepth, sum: &mut usize) -> Option<Path<'a>> {
    match path.child {
        Child::Empty | Child::Mapped => None,
        Child::Page(entries) => {
            if !matches!(depth_wanted, PrefetchDepth::Nodes(_)) {
                *sum += entries.iter().map(|entry| usize::from(entry.id[0])).sum::<usize>();
            }
            None
        }
        Child::Node2(node) => node_step(node, path, depth_wanted, sum),
        Child::Node4(node) => node_step(node, path, depth_wanted, sum),
        Child::Node8(node) => node_step(node, path, depth_wanted, sum),
        Child::Node16(node) => node_step(node, path, depth_wanted, sum),
    }
}

fn node_step<'a, const R: usize, const H: usize>(
    node: &'a Arc<Node<R, H>>,
    path: Path<'a>,
    depth_wanted: PrefetchDepth,
    sum: &mut usize,
) -> Option<Path<'a>> {
    let shared = path.shared || Arc::strong_count(node) > 1;
    let (children, hashes) = node.parts();
    let count = R.trailing_zeros() as usize;
    let index = bits(path.id, path.depth, count);
    let depth = path.depth + count;
    if matches!(depth_wanted, PrefetchDepth::All | PrefetchDepth::Hashes) {
        for level in 1..=count {
            let slot = level_start(level) + (index >> (count - level));
            *sum += hashes.get(slot ^ 1).map_or(0, |hash| usize::from(hash[0]));
        }
    }
    if shared && depth_wanted == PrefetchDepth::All {
        *sum += children.iter().map(Child::count).sum::<usize>();
    }
    if let PrefetchDepth::Nodes(until) = depth_wanted
        && depth >= until
    {
        *sum += children.get(index).map_or(0, |child| usize::from(matches!(child, Child::Empty)));
        return None;
    }
    Some(Path { child: children.get(index)?, depth, id: path.id, shared })
}
