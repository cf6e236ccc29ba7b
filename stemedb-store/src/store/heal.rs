//! Bodies that are damaged on the disk, put back with what a peer has.
//!
//! An id says which body is right, so that it may come from anybody. With it the record can be
//! written as it was, to the byte; see [`stemedb_wal::repair::Heal`] for how that is made safe.

use std::{cell::OnceCell, path::PathBuf, sync::Arc};

use crate::{
    commit::{Held, Verified},
    tiles::TileFile,
};
use stemedb_merkle::{
    AssertionId, Hash, LogIndex, Timestamp,
    history::{NodeReader, leaf_hash, node_hash, tile::Node},
};
use stemedb_wal::{
    Position,
    disk::Disk,
    error::{
        AppendError as LogAppendError, DamageKind, HealError as LogHealError,
        ReadError as LogReadError,
    },
    log::LogReader,
    repair::{Heal, Rewritten},
};

use tracing::info;

use super::{Store, StoreReader, history::Source};
use crate::Receipt;
use crate::{
    error::{HealError, ReadError},
    index::Index,
    options::Hashing,
};

/// Puts damaged records right, with bodies that come from elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Healer {
    reader: LogReader,
    index: Arc<Index>,
    tiles: TileFile,
    disk: Arc<dyn Disk>,
    hashing: Hashing,
    segment_len: u64,
}

/// Lets the log go on in another segment.
type Seal<'a> = &'a dyn Fn() -> Result<bool, LogAppendError>;

/// Why a record was not put right.
#[derive(Debug)]
enum Failure {
    SecretMissing,
    Heal(LogHealError),
    Seal(LogAppendError),
}

/// What [`Store::heal`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Healed {
    /// Nothing: what is on the disk is right.
    Intact,
    /// The record was put back as it was, and the segment is another file now.
    Rewritten {
        /// The segment.
        path: PathBuf,
        /// The first byte of it that is another one.
        offset: u64,
        /// How many bytes there are from there to the last that is another one.
        len: u64,
        /// Where what these bytes were is kept.
        kept: PathBuf,
    },
    /// Repair had made a hole of it; the body was appended, and fills it.
    HoleFilled(Receipt),
}

impl From<Option<Rewritten>> for Healed {
    fn from(rewritten: Option<Rewritten>) -> Self {
        match rewritten {
            None => Self::Intact,
            Some(Rewritten { path, offset, len, kept }) => {
                Self::Rewritten { path, offset, len, kept }
            }
        }
    }
}

impl Store {
    /// Puts the body of an assertion back that is held and damaged on the disk. Appends and reads
    /// go on meanwhile. What a backup shares with the store is not touched.
    ///
    /// Where the damage is in the segment that appends go to, the log goes on in another one
    /// first. O(bytes of the segment).
    ///
    /// # Errors
    ///
    /// See [`HealError`]. The store is as it was.
    pub fn heal(&self, id: &AssertionId, body: &[u8]) -> Result<Healed, HealError> {
        self.writer()?;
        match self.hashing.id(body) {
            None => return Err(HealError::SecretMissing),
            Some(found) if found != *id => return Err(HealError::OtherBody { id: *id, found }),
            Some(_) => {}
        }
        let position = self.shared.index.position(&id.0).map_err(ReadError::from)?;
        let Some(position) = position else {
            let is_hole = {
                let folded = self.shared.index.folded().map_err(ReadError::from)?;
                folded.holes.contains_key(&id.0)
            };
            if is_hole {
                return Ok(Healed::HoleFilled(self.append(body)?));
            }
            return Err(HealError::NotHeld { id: *id });
        };
        let healed = self.rewrite(position, Some((id.0, body)))?.into();
        // Through the same file that all others read.
        match self.reader.read(position) {
            Ok(record) if record.body == body && record.entry.id == id.0 => Ok(healed),
            Ok(_) => Err(HealError::StillDamaged { id: *id }),
            Err(error) => Err(ReadError::Log(error).into()),
        }
    }

    /// Writes again what of a segment follows from its records: headers and ends of batches, the
    /// list of offsets, the segment's own header. `position` is anywhere in the segment.
    ///
    /// # Errors
    ///
    /// See [`HealError`]. The store is as it was.
    pub fn rewrite_framing(&self, position: Position) -> Result<Healed, HealError> {
        self.writer()?;
        if self.lacks_secret() {
            return Err(HealError::SecretMissing);
        }
        Ok(self.rewrite(position, None)?.into())
    }

    fn rewrite(
        &self,
        position: Position,
        record: Option<(Hash, &[u8])>,
    ) -> Result<Option<Rewritten>, HealError> {
        let writer = self.writer()?;
        let seal: Seal<'_> = &|| writer.call(|log, _| log.seal_open())?;
        Healer::of(self).rewrite(position, record, seal).map_err(|failure| match failure {
            Failure::SecretMissing => HealError::SecretMissing,
            Failure::Heal(error) => error.into(),
            Failure::Seal(error) => error.into(),
        })
    }

    /// The id of the assertion whose record is at a position, by the set tree. O(N).
    pub fn id_at(&self, position: Position) -> Option<Hash> {
        id_at(&self.shared.index, position)
    }
}

impl Healer {
    pub(super) fn of(store: &StoreReader) -> Self {
        let StoreReader { reader, hashing, shared, .. } = store;
        Self {
            reader: reader.clone(),
            index: Arc::clone(&shared.index),
            tiles: shared.tiles.clone(),
            disk: Arc::clone(&shared.disk),
            hashing: *hashing,
            segment_len: shared.options.segment_len,
        }
    }

    fn rewrite(
        &self,
        position: Position,
        record: Option<(Hash, &[u8])>,
        seal: Seal<'_>,
    ) -> Result<Option<Rewritten>, Failure> {
        let hash = self.hashing.hasher().ok_or(Failure::SecretMissing)?;
        let sibling = OnceCell::new();
        let is_entry =
            |index, time, id: &Hash| self.is_entry(index, time, id, &sibling).unwrap_or(false);
        let heal = Heal { position, record, hash: &hash, is_entry: &is_entry };
        match self.reader.heal(&heal) {
            Err(LogHealError::Open { path }) => {
                if !self.has_room() || !seal().map_err(Failure::Seal)? {
                    return Err(Failure::Heal(LogHealError::Open { path }));
                }
                self.reader.heal(&heal)
            }
            rewritten => rewritten,
        }
        .inspect(|rewritten| {
            if rewritten.is_some() {
                info!(%position, "damaged bytes of the log were put back as they were");
            }
        })
        .map_err(Failure::Heal)
    }

    /// Whether there is room for another segment beyond doubt: on a full disk the attempt would end
    /// all appends.
    fn has_room(&self) -> bool {
        let needed = self.segment_len.saturating_mul(2);
        self.disk.available().is_ok_and(|available| available >= needed)
    }

    /// Whether the history tree has this entry; `None` if that is unknown. `sibling` keeps what
    /// was found out about the leaf beside it.
    fn is_entry(
        &self,
        index: LogIndex,
        time: Timestamp,
        id: &Hash,
        sibling: &OnceCell<Option<Sibling>>,
    ) -> Option<bool> {
        let index = index.get();
        let history = self.index.history().ok()?;
        let source = Source::new(&self.tiles, &self.reader);
        let node = |node| history.reader(&source).node(node).ok();
        let leaf = leaf_hash(time, id);
        // The tree keeps nodes over two leaves, and the last leaf if it is alone.
        if index ^ 1 >= history.size().0 {
            return Some(node(Node::new(0, index)?)? == leaf);
        }
        let node = node(Node::new(1, index >> 1)?)?;
        let is_over = |other: &Hash| match index & 1 {
            0 => node_hash(&leaf, other) == node,
            _ => node_hash(other, &leaf) == node,
        };
        Some(match (*sibling.get_or_init(|| self.sibling(LogIndex(index ^ 1))))? {
            Sibling::Read { time, id } => is_over(&leaf_hash(time, &id)),
            // Both are of one batch, or this is not to be told.
            Sibling::Damaged { id } => {
                let time = if index & 1 == 0 { time.checked_add(1) } else { time.checked_sub(1) };
                is_over(&leaf_hash(time?, &id))
            }
        })
    }

    fn sibling(&self, index: LogIndex) -> Option<Sibling> {
        if let Ok(entry) = self.reader.entry_at(index) {
            return Some(Sibling::Read { time: entry.time, id: entry.id });
        }
        let position = self.reader.position_of(index).ok()?;
        id_at(&self.index, position).map(|id| Sibling::Damaged { id })
    }
}

/// An append of a body that is held reads it back, and puts it right where it is damaged.
impl Healer {
    pub(super) fn verify(&self, held: &Held<'_>) -> Result<Verified, LogAppendError> {
        let Held { id, position, body, seal } = *held;
        let failed = |error| LogAppendError::Lookup(Arc::new(error));
        if self.reader.is_remote_at(position).map_err(failed)? {
            // It is checked where it is, by the archive's own checks.
            let entry = self.reader.entry(position).map_err(failed)?;
            return Ok(Verified { entry, healed: false });
        }
        match self.reader.read(position) {
            Ok(record) if record.entry.id == id && record.body == body => {
                return Ok(Verified { entry: record.entry, healed: false });
            }
            Ok(_) | Err(LogReadError::Damaged(_)) => {}
            Err(error) => return Err(failed(error)),
        }
        let rewritten = self.rewrite(position, Some((id, body)), seal);
        let rewritten = rewritten.map_err(|failure| match failure {
            // Without it there is no id to append the body under.
            Failure::SecretMissing => LogAppendError::Closed,
            Failure::Heal(error) => LogAppendError::Unhealed(Arc::new(error)),
            Failure::Seal(error) => error,
        })?;
        // Through the same file that all others read.
        let record = self.reader.read(position).map_err(failed)?;
        if record.entry.id != id || record.body != body {
            let index = record.entry.index;
            return Err(failed(self.reader.damage_at(position, index, DamageKind::Id)));
        }
        // Somebody else may have put it right meanwhile.
        Ok(Verified { entry: record.entry, healed: rewritten.is_some() })
    }
}

/// The id of the assertion whose record is at a position, by the set tree. O(N).
fn id_at(trees: &Index, position: Position) -> Option<Hash> {
    let tree = trees.set_snapshot().ok()?;
    let mut entries = tree.iter().filter_map(Result::ok);
    entries.find(|entry| position == entry.position).map(|entry| entry.id)
}

/// What is known of the leaf beside another one.
#[derive(Clone, Copy, Debug)]
enum Sibling {
    Read {
        time: Timestamp,
        id: Hash,
    },
    /// Its time can't be read.
    Damaged {
        id: Hash,
    },
}
