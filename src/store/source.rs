//! The store as sessions with peers see it.

use std::time::Duration;

use stemedb_merkle::{AssertionId, Hash};
use stemedb_rpc::{Reason, Site, backend::Failure};
use stemedb_sync::{
    Identity, Pin, Source, Unreadable,
    message::{LogHead, SetHead},
};
use stemedb_wal::error::ReadError as LogReadError;

use super::{Head, Store, lock, sketch, system::uptime};
use crate::{engine::View, error::ReadError};

impl Store {
    /// Who this store is to its peers, for those who drive sessions themselves.
    pub fn peer_identity(&self) -> Identity {
        let identity = lock(&self.shared.identity);
        Identity { node: identity.node_id, epoch: identity.epoch, keys: sketch::keys(&self.shared) }
    }

    fn set_head(head: &Head) -> (SetHead, LogHead) {
        (
            SetHead { count: head.count, root: head.set_root },
            LogHead { size: head.log_size, root: head.log_root },
        )
    }
}

impl Source for Store {
    fn pin(&self) -> Result<Pin, Unreadable> {
        let checkpoint = lock(&self.shared.checkpoint).clone();
        // Without symbols the other layers do.
        let _ = sketch::wake(&self.shared, checkpoint.as_ref());
        let trees = &self.shared.trees;
        let folded = trees.folded().map_err(|_| Unreadable)?;
        let View { tree, history, .. } = trees.view_of(&folded);
        let sketch = folded.sketch.clone().filter(|sketch| sketch.count() == tree.len());
        let log = history.head();
        Ok(Pin { snapshot: tree, log: LogHead { size: log.size.0, root: log.root }, sketch })
    }

    fn head(&self) -> Result<(SetHead, LogHead), Unreadable> {
        let head = Self::head(self).map_err(|_| Unreadable)?;
        Ok(Self::set_head(&head))
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable> {
        if size > self.log_size() {
            return Ok(None);
        }
        self.history_root_at(size).map(Some).map_err(|_| Unreadable)
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        self.get(&AssertionId(*id)).map_err(|_| Unreadable)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        let read = || {
            let record = self.reader.read_index(index)?;
            self.check_body(&record.entry, &record.body)?;
            Ok(record.body)
        };
        match read() {
            Ok(body) => Ok(Some(body)),
            // It may be back, elsewhere.
            Err(ReadError::Log(LogReadError::Hole { id, .. })) => self.body(&id),
            Err(ReadError::Log(LogReadError::NotFound { .. })) => Ok(None),
            Err(_) => Err(Unreadable),
        }
    }
}

impl Site for Store {
    fn now(&self) -> Duration {
        uptime()
    }

    fn time(&self) -> u64 {
        (self.shared.world.clock)().0
    }

    fn nonce(&self) -> Result<[u8; 16], Failure> {
        let mut nonce = [0; 16];
        (self.shared.world.entropy)(&mut nonce)
            .map_err(|source| Failure::new(Reason::Failed, source))?;
        Ok(nonce)
    }

    fn append(&self, bodies: Vec<Vec<u8>>) -> Result<Vec<(Hash, bool)>, Failure> {
        let mut taken = Vec::with_capacity(bodies.len());
        let mut rest = bodies.as_slice();
        while !rest.is_empty() {
            let turn = self.shared.lane.turn();
            let (now, later) = rest.split_at(turn.share(rest));
            // Kept while others append, so that one share waits in their way and no more.
            let _turn = turn.is_small().then_some(turn);
            let receipts = self.append_together(now)?;
            taken.extend(receipts.iter().map(|receipt| (receipt.id.0, !receipt.duplicate)));
            rest = later;
        }
        Ok(taken)
    }
}
