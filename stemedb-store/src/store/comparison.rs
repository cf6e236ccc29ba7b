//! State of a store that two of them are compared by.

use std::{io, sync::Arc};

use stemedb_merkle::{Hash, LogIndex, Snapshot, Timestamp, history::TreeHead, symbols::Sketch};
use stemedb_wal::{error::ReadError as LogReadError, repair::HashBodies as _};

use super::{LogId, Store, StoreReader, lock, sketch};
use crate::{
    Secret,
    commit::{Priority, Submission},
    error::ReadError,
    index::View,
};

/// The most bodies of peers that are queued as one: while the program appends, a commit takes one
/// such piece, which takes about as long as a sync.
const PEER_PIECE_RECORDS: usize = 32;

/// The most bytes of such a piece, unless it is one body.
const PEER_PIECE_LEN: usize = 1 << 20;

/// Set, log and first coded symbols of one moment.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The set of ids. A clone is cheap and holds still.
    pub set: Snapshot,
    /// Size and root of the log's history.
    pub log: TreeHead,
    /// The first coded symbols of the set; none if its ids could not all be read.
    pub sketch: Option<Arc<Sketch>>,
}

impl StoreReader {
    /// State of this moment to compare with another store's. The first call takes what came since
    /// the restart checkpoint into the coded symbols saved with it (0.15 µs an id; of all ids where
    /// an older one lacks them); from then on it is O(1).
    ///
    /// # Errors
    ///
    /// If the trees do not have everything that was appended.
    pub fn comparison(&self) -> Result<Comparison, ReadError> {
        let checkpoint = lock(&self.shared.checkpoint).clone();
        // Without symbols two stores compare in other ways.
        let _ = sketch::wake(&self.shared, checkpoint.as_ref());
        self.comparison_as_it_is()
    }

    /// As [`comparison`](Self::comparison), with coded symbols only if there are any. O(1).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn comparison_as_it_is(&self) -> Result<Comparison, ReadError> {
        let trees = &self.shared.index;
        let folded = trees.folded()?;
        let View { tree, history, .. } = trees.view_of(&folded);
        let sketch = sketch::live(&folded, &tree);
        Ok(Comparison { set: tree, log: history.head(), sketch })
    }

    /// Body of the entry at an index; of a hole that was filled, from where it is now. `None`
    /// behind the end of the log, or if the body is lost.
    ///
    /// # Errors
    ///
    /// If it is damaged or the disk fails.
    pub fn body_at(&self, index: LogIndex) -> Result<Option<Vec<u8>>, ReadError> {
        let read = || {
            let record = self.reader.read_index(index)?;
            self.bodies.check(&record.entry, &record.body)?;
            Ok(record.body)
        };
        match read() {
            Ok(body) => Ok(Some(body)),
            Err(ReadError::Log(LogReadError::Hole { id, .. })) => {
                self.get(&stemedb_merkle::AssertionId(id))
            }
            Err(ReadError::Log(LogReadError::NotFound { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Identity of the log.
    pub fn log_id(&self) -> LogId {
        let identity = lock(&self.shared.identity);
        LogId { node: identity.node_id, epoch: identity.epoch }
    }

    /// The cluster secret that the store was opened with.
    pub fn secret(&self) -> Option<&Secret> {
        self.shared.options.secret.as_ref()
    }

    /// Length of the longest body, in bytes.
    pub fn body_len_max(&self) -> usize {
        self.shared.options.body_len_max as usize
    }

    /// Random bytes that nobody can guess, from the store's own source.
    ///
    /// # Errors
    ///
    /// If the system has none to give.
    pub fn random<const LEN: usize>(&self) -> io::Result<[u8; LEN]> {
        let mut bytes = [0; LEN];
        (self.shared.world.entropy)(&mut bytes)?;
        Ok(bytes)
    }

    /// Reading of the wall clock.
    pub fn clock_time(&self) -> Timestamp {
        Timestamp::from_ntp64((self.shared.world.clock)().0)
    }
}

impl Store {
    /// Appends bodies that come from a peer, each with its id, which give way to this program's own
    /// appends, and waits until all are durable. Returns each id, and whether it is new here.
    ///
    /// The ids are those that the bodies hash to, which is not checked again: who takes bodies from
    /// a peer hashes them anyway.
    ///
    /// # Errors
    ///
    /// As [`append_batch`](Self::append_batch). Bodies before the one that failed may be durable.
    pub fn append_from_peer<'a>(
        &self,
        bodies: impl IntoIterator<Item = (Hash, &'a [u8])>,
    ) -> Result<Vec<(Hash, bool)>, crate::AppendError> {
        // A store without its secret takes none.
        let (hasher, writer) = (self.hasher()?, self.writer()?);
        let submit =
            |piece: Submission<'static>| writer.submit(piece.with_priority(Priority::Peer));
        let mut pending = Vec::new();
        let mut piece = Submission::new();
        for (id, body) in bodies {
            debug_assert_eq!(hasher.id(body), id, "the id of a body from a peer");
            let len = piece.bytes_len() + body.len();
            if piece.len() == PEER_PIECE_RECORDS || piece.len() > 0 && len > PEER_PIECE_LEN {
                pending.push(submit(std::mem::take(&mut piece)));
            }
            if piece.len() == 0 {
                // As long as the first one, about.
                let bytes = (body.len() * PEER_PIECE_RECORDS).clamp(body.len(), PEER_PIECE_LEN);
                piece = Submission::in_buffer(writer.buffer(bytes), PEER_PIECE_RECORDS);
            }
            piece.push(id, body);
        }
        if piece.len() > 0 {
            pending.push(submit(piece));
        }
        let mut taken = Vec::new();
        for pending in pending {
            let receipts = pending.wait()?;
            taken.extend(receipts.iter().map(|receipt| (receipt.id.0, !receipt.duplicate)));
        }
        Ok(taken)
    }
}
