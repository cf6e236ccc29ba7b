//! View of the trees at one moment.

use stemedb_merkle::{Snapshot, Timestamp, history::History};

use crate::head::Head;

/// The trees at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) tree: Snapshot,
    pub(crate) history: History,
    pub(crate) last_time: Timestamp,
}

impl View {
    /// All counts and roots.
    pub(crate) fn head(&self) -> Head {
        let log = self.history.head();
        Head {
            count: self.tree.len(),
            set_root: self.tree.root(),
            log_size: log.size,
            log_root: log.root,
            last_time: self.last_time,
        }
    }
}
