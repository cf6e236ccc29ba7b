//! The changed children of a node: planned together, then hashed.

use super::{
    mapped::layout::NODE_BITS_MAX,
    node::{NodeMut, State},
    plan::{Part, Plan},
};
use crate::{id::Hash, internal::internal_error};

/// Changed children of a node by their places: first planned, many of them at a time, then hashed.
#[derive(Debug, Default)]
pub(super) struct ChangedChildren {
    pub(super) planned: Vec<(usize, Part)>,
    pub(super) hashed: Vec<(usize, Hash, State)>,
}

impl ChangedChildren {
    /// Makes the hashes of the children that are planned, and clears the plan.
    pub(super) fn hash_planned(&mut self, plan: &mut Plan, node: &mut NodeMut<'_>) {
        plan.run();
        let mut next = 0;
        for (index, part) in self.planned.drain(..) {
            let Some(child) = node.children.get_mut(index) else { internal_error("a child") };
            plan.fetch(child, &mut next);
            self.hashed.push((index, plan.hash(part), part.state()));
        }
        plan.clear();
    }

    /// The children that are hashed, all of them noted as changed.
    pub(super) fn parts(
        self,
        plan: &mut Plan,
        node: &mut NodeMut<'_>,
    ) -> [Part; 1 << NODE_BITS_MAX] {
        let mut parts = [Part::EMPTY; 1 << NODE_BITS_MAX];
        for (index, hash, state) in self.hashed {
            let Some(part) = parts.get_mut(index) else { internal_error("a child") };
            *part = plan.known(hash, state);
            *node.dirty |= 1 << index;
        }
        parts
    }
}
