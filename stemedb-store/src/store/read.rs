//! Reading assertions.

use stemedb_merkle::{
    AssertionId, LogIndex, LogSize, Presence, Root, SetProof, Timestamp, id::from_hex,
};
use stemedb_wal::{
    Position,
    error::ReadError as LogReadError,
    log::{Kind, LogReader, Placed},
    repair::HashBodies as _,
};

use super::{Entries, Entry, Ids, Proven, Snapshot, StoreReader};
use crate::Head;
use crate::{
    error::{ReadError, ResolveError},
    index::View,
    options::Hashing,
};

/// What reads bodies, and checks them.
#[derive(Clone, Debug)]
pub(super) struct BodyReader {
    pub(super) reader: LogReader,
    pub(super) hashing: Hashing,
    pub(super) verify_reads: bool,
}

impl BodyReader {
    /// Reads the body of an assertion that is at a position.
    pub(super) fn read(&self, id: &AssertionId, at: Position) -> Result<Vec<u8>, ReadError> {
        let mut body = Vec::new();
        let placed = self.reader.read_into(at, &mut body)?;
        if placed.id != id.0 {
            let (index, id) = (placed.index, AssertionId(placed.id));
            return Err(ReadError::WrongId { index, id });
        }
        self.check(&placed, &body)?;
        Ok(body)
    }

    /// Whether a body that was read is the one of its id, if that is to be checked.
    pub(super) fn check(&self, placed: &Placed, body: &[u8]) -> Result<(), ReadError> {
        // What comes from elsewhere is always checked, as far as it can be.
        if self.reader.reads_remote()
            && self.reader.is_remote_at(placed.position)?
            && self.hashing.id(body).is_some_and(|found| found.0 != placed.id)
            && let Some(error) = self.reader.invalidate(placed.position)
        {
            return Err(LogReadError::Remote(error).into());
        }
        if self.verify_reads {
            if let Hashing::SecretMissing = self.hashing {
                return Err(ReadError::SecretMissing);
            }
            if self.hashing.id(body).is_some_and(|found| found.0 != placed.id) {
                let (index, id) = (placed.index, AssertionId(placed.id));
                return Err(ReadError::WrongId { index, id });
            }
        }
        Ok(())
    }
}

impl StoreReader {
    /// The body of an assertion, if it is held. One lookup in the set tree and one read.
    ///
    /// # Errors
    ///
    /// If it is damaged, or the disk fails; never with other bytes than those appended.
    pub fn get(&self, id: &AssertionId) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(position) = self.shared.index.position(&id.0)? else { return Ok(None) };
        self.bodies.read(id, position).map(Some)
    }

    /// The body at a position that a receipt named.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and if there is nothing.
    pub fn get_at(&self, position: Position) -> Result<Vec<u8>, ReadError> {
        let mut body = Vec::new();
        self.get_into(position, &mut body)?;
        Ok(body)
    }

    /// Reads the body at a position into a buffer, in place of what that held.
    ///
    /// # Errors
    ///
    /// As [`get_at`](Self::get_at).
    pub fn get_into(&self, position: Position, body: &mut Vec<u8>) -> Result<(), ReadError> {
        let placed = self.reader.read_into(position, body)?;
        self.bodies.check(&placed, body)
    }

    /// Checks many bodies that were read, whose ids are computed side by side: the number of each
    /// that is wrong, and why, in order.
    pub(super) fn check_bodies(&self, read: &[(Placed, Vec<u8>)]) -> Vec<(usize, ReadError)> {
        let one_by_one = || {
            let checked = read.iter().map(|(placed, body)| self.bodies.check(placed, body).err());
            checked.enumerate().filter_map(|(number, error)| Some((number, error?))).collect()
        };
        let hasher = match self.hashing.hasher() {
            // Bodies that come from elsewhere are invalidated there.
            Some(hasher) if !self.reader.reads_remote() => hasher,
            _ => return one_by_one(),
        };
        if !self.shared.options.verify_reads {
            return Vec::new();
        }
        let bodies: Vec<&[u8]> = read.iter().map(|(_, body)| body.as_slice()).collect();
        let mut ids = Vec::with_capacity(bodies.len());
        hasher.ids(&bodies, &mut ids);
        let wrong = read.iter().zip(&ids).enumerate();
        wrong
            .filter(|(_, ((placed, _), id))| placed.id != **id)
            .map(|(number, ((placed, _), _))| {
                let (index, id) = (placed.index, AssertionId(placed.id));
                (number, ReadError::WrongId { index, id })
            })
            .collect()
    }

    /// Entry `index` of the log and its body.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get). A body that was lost to damage is an error until it comes back.
    pub fn get_index(&self, index: LogIndex) -> Result<Option<(Entry, Vec<u8>)>, ReadError> {
        let Some(entry) = self.entry(index)? else { return Ok(None) };
        let body = self.body_of(index, entry.time, &entry.id)?;
        Ok(Some((entry, body)))
    }

    /// The body of an entry of the log.
    ///
    /// # Errors
    ///
    /// If it is lost or damaged, or the disk fails.
    pub fn body_of(
        &self,
        index: LogIndex,
        time: Timestamp,
        id: &AssertionId,
    ) -> Result<Vec<u8>, ReadError> {
        let lost = LogReadError::Hole { index, time, id: id.0 };
        self.get(id)?.ok_or_else(|| lost.into())
    }

    /// Entry `index` of the log, if it is that long.
    ///
    /// # Errors
    ///
    /// If it is damaged or the disk fails.
    pub fn entry(&self, index: LogIndex) -> Result<Option<Entry>, ReadError> {
        if !self.log_size().has(index) {
            return Ok(None);
        }
        let placed = self.reader.entry_at(index)?;
        self.entry_of(&placed).map(Some)
    }

    /// The log's entry of an assertion, if it is held.
    ///
    /// # Errors
    ///
    /// If it is damaged or the disk fails.
    pub fn find(&self, id: &AssertionId) -> Result<Option<Entry>, ReadError> {
        let Some(position) = self.shared.index.position(&id.0)? else { return Ok(None) };
        let placed = self.reader.entry(position)?;
        self.entry_of(&placed).map(Some)
    }

    pub(super) fn entry_of(&self, placed: &Placed) -> Result<Entry, ReadError> {
        let hole = placed.kind == Kind::Hole && !self.contains(&AssertionId(placed.id))?;
        Ok(Entry::new(placed, hole))
    }

    /// Whether an assertion is held.
    ///
    /// # Errors
    ///
    /// If the restart checkpoint is damaged, and the log can't rebuild it.
    pub fn contains(&self, id: &AssertionId) -> Result<bool, ReadError> {
        Ok(self.shared.index.position(&id.0)?.is_some())
    }

    /// How many assertions are held.
    pub fn len(&self) -> u64 {
        self.shared.index.count()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many entries the log has.
    pub fn log_size(&self) -> LogSize {
        self.shared.index.reached().next_index.entries_before()
    }

    /// The root over the assertions that are held. O(1), once what was appended last has been taken
    /// into the tree: up to 1 µs for each of the last appends, which the first to ask waits for.
    ///
    /// # Errors
    ///
    /// If the tree does not have everything: see [`ReadError::Behind`].
    pub fn root(&self) -> Result<Root, ReadError> {
        Ok(self.shared.index.root()?)
    }

    /// All counts and roots, of one moment.
    ///
    /// # Errors
    ///
    /// As [`root`](Self::root).
    pub fn head(&self) -> Result<Head, ReadError> {
        Ok(self.shared.index.head()?)
    }

    /// The store at this moment: cheap to take and to keep, never disturbed by appends.
    ///
    /// # Errors
    ///
    /// As [`root`](Self::root).
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        Ok(Snapshot::new(self.shared.index.view()?))
    }

    /// Proves that an assertion is held or that it is not. The proof comes with the head whose root
    /// it verifies against.
    ///
    /// # Errors
    ///
    /// As [`root`](Self::root).
    pub fn prove(&self, id: &AssertionId) -> Result<Proven<SetProof>, ReadError> {
        let prove = |view: &View| Ok(Proven { proof: view.tree.prove(&id.0)?, head: view.head() });
        Ok(self.shared.index.find(prove)?)
    }

    /// Proves that an assertion is not held; `None` if it is.
    ///
    /// # Errors
    ///
    /// As [`root`](Self::root).
    pub fn prove_absence(&self, id: &AssertionId) -> Result<Option<Proven<SetProof>>, ReadError> {
        let proven = self.prove(id)?;
        Ok((proven.proof.presence() == Presence::Absent).then_some(proven))
    }

    /// All entries of the log, in order and from both ends.
    pub fn iter(&self) -> Entries<'_> {
        self.range(..)
    }

    /// The ids that are held, sorted.
    pub fn ids(&self) -> Ids {
        Ids::new(self.shared.index.view())
    }

    /// The index of the first entry that the log took in at `time` or later; that of the next
    /// one if there is none. O(log N).
    ///
    /// # Errors
    ///
    /// If an entry is damaged or the disk fails.
    pub fn index_at_time(&self, time: Timestamp) -> Result<LogIndex, ReadError> {
        Ok(self.reader.index_at_time(time)?)
    }

    /// The id that begins with these hex digits, in either case, of which there are at least 4; a
    /// whole id is itself, held or not.
    ///
    /// # Errors
    ///
    /// If none does, or more than one.
    pub fn resolve(&self, prefix: &str) -> Result<AssertionId, ResolveError> {
        let prefix = &prefix.to_ascii_lowercase();
        if let Ok(id) = prefix.parse() {
            return Ok(id);
        }
        let malformed = || ResolveError::Malformed { prefix: prefix.into() };
        if prefix.len() < 4 || prefix.len() > 63 || !prefix.is_ascii() {
            return Err(malformed());
        }
        let (Ok(first), Ok(last)) = (from_hex(&fill(prefix, '0')), from_hex(&fill(prefix, 'f')))
        else {
            return Err(malformed());
        };
        let two = self.shared.index.find(|View { tree, .. }| {
            let mut found = tree.range(first..=last);
            Ok((found.next().transpose()?, found.next().transpose()?))
        });
        match two.map_err(ReadError::from)? {
            (None, _) => Err(ResolveError::NotFound { prefix: prefix.into() }),
            (Some(only), None) => Ok(AssertionId(only.id)),
            (Some(first), Some(second)) => Err(ResolveError::Ambiguous {
                prefix: prefix.into(),
                first: AssertionId(first.id),
                second: AssertionId(second.id),
            }),
        }
    }
}

fn fill(prefix: &str, digit: char) -> String {
    let missing = 64 - prefix.len();
    prefix.chars().chain(std::iter::repeat_n(digit, missing)).collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use stemedb_wal::disk::MemoryDisk;

    use crate::{Options, ReadError, Store, error::TreeFailure, store::system::ENVIRONMENT};

    /// What a thread left half done when it panicked is not shown to anybody, and a reopened store
    /// has everything.
    #[test]
    fn after_a_panic_in_a_tree_nothing_is_answered_from_it() {
        let disk = Arc::new(MemoryDisk::new());
        for threads in [false, true] {
            let options = || Options::default().threads(threads);
            let store = Store::open_on(disk.clone(), ENVIRONMENT, options()).unwrap();
            let id = store.append(b"held").unwrap().id;
            let root = store.root().unwrap();
            let trees = &store.shared.index;
            let died = thread::scope(|scope| scope.spawn(|| trees.panic_in_a_change()).join());
            assert!(died.is_err());
            let panicked = |error: &ReadError| {
                matches!(error, ReadError::Behind(TreeFailure::Panicked)) && !error.is_damage()
            };
            // The first caller meets the lock, all others are told.
            assert!(store.get(&id).is_err_and(|error| panicked(&error)));
            assert!(store.root().is_err_and(|error| panicked(&error)));
            assert!(store.head().is_err_and(|error| panicked(&error)));
            assert!(store.snapshot().is_err_and(|error| panicked(&error)));
            assert!(store.prove(&id).is_err_and(|error| panicked(&error)));
            assert!(store.history_root().is_err_and(|error| panicked(&error)));
            assert!(store.comparison().is_err_and(|error| panicked(&error)));
            assert!(store.append(b"new").is_err());
            drop(store);
            let store = Store::open_on(disk.clone(), ENVIRONMENT, options()).unwrap();
            assert_eq!((store.root().unwrap(), store.len()), (root, 1));
            assert_eq!(store.get(&id).unwrap().as_deref(), Some(&b"held"[..]));
        }
    }
}
