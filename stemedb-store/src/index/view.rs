//! View of the trees at one moment.

use stemedb_merkle::{Snapshot, history::History};

use crate::head::Head;

/// The trees at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) tree: Snapshot,
    pub(crate) history: History,
    pub(crate) last_time: u64,
}

impl View {
    /// All counts and roots.
    pub(crate) fn head(&self) -> Head {
        let log = self.history.head();
        Head {
            count: self.tree.len(),
            set_root: self.tree.root(),
            log_size: log.size.0,
            log_root: log.root,
            last_time: self.last_time,
        }
    }
}
