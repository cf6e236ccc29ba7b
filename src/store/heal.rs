//! Bodies that are damaged on the disk, put back with what a peer has.
//!
//! An id says which body is right, so that it may come from anybody. With it the record can be
//! written as it was, to the byte; see [`stemedb_wal::repair::Heal`] for how that is made safe.

use std::{cell::OnceCell, path::PathBuf};

use stemedb_merkle::{
    AssertionId, Hash,
    history::{NodeReader, leaf_hash, node_hash, tile::Node},
};
use stemedb_wal::repair::{Heal, HealError as LogHealError, Rewritten};

use super::{Receipt, Store};
use crate::error::{AppendError, HealError, ReadError};

/// What [`Store::heal`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Healed {
    /// Nothing: what is on the disk is right.
    Sound,
    /// The record was put back as it was, and the segment is another file now.
    Rewritten {
        /// The segment.
        path: PathBuf,
        /// The first byte of it that is another one.
        offset: u64,
        /// How many bytes there are from there to the last that is another one.
        len: u64,
        /// Where what these bytes were is kept.
        aside: PathBuf,
    },
    /// Repair had made a hole of it; the body was appended, and fills it.
    CameBack(Receipt),
}

impl From<Option<Rewritten>> for Healed {
    fn from(rewritten: Option<Rewritten>) -> Self {
        match rewritten {
            None => Self::Sound,
            Some(Rewritten { path, offset, len, aside }) => {
                Self::Rewritten { path, offset, len, aside }
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
        if self.shared.options.read_only {
            return Err(AppendError::ReadOnly.into());
        }
        match self.hashing.id(body) {
            None => return Err(HealError::SecretMissing),
            Some(found) if found != *id => return Err(HealError::OtherBody { id: *id, found }),
            Some(_) => {}
        }
        let position = self.shared.trees.position(&id.0).map_err(ReadError::Archive)?;
        let Some(position) = position else {
            if self.shared.trees.folded().holes.contains_key(&id.0) {
                return Ok(Healed::CameBack(self.append(body)?));
            }
            return Err(HealError::NotHeld { id: *id });
        };
        let healed = self.put_right(position, Some((id.0, body)))?;
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
    pub fn mend(&self, position: u64) -> Result<Healed, HealError> {
        if self.shared.options.read_only {
            return Err(AppendError::ReadOnly.into());
        }
        if self.lacks_secret() {
            return Err(HealError::SecretMissing);
        }
        self.put_right(position, None)
    }

    fn put_right(&self, position: u64, record: Option<(Hash, &[u8])>) -> Result<Healed, HealError> {
        let hash = |body: &[u8]| self.hashing.id(body).unwrap_or_default().0;
        let sibling = OnceCell::new();
        let is_entry =
            |index, time, id: &Hash| self.is_entry(index, time, id, &sibling).unwrap_or(false);
        let heal = Heal { position, record, hash: &hash, is_entry: &is_entry };
        let rewritten = match self.reader.heal(&heal) {
            Err(LogHealError::Open { path }) => {
                if !self.seal()? {
                    return Err(LogHealError::Open { path }.into());
                }
                self.reader.heal(&heal)
            }
            rewritten => rewritten,
        };
        Ok(rewritten?.into())
    }

    /// Lets the log go on in another segment, if there is room for it beyond doubt: on a full disk
    /// the attempt would end all appends.
    fn seal(&self) -> Result<bool, HealError> {
        let needed = self.shared.options.segment_len.saturating_mul(2);
        if !self.shared.disk.available().is_ok_and(|available| available >= needed) {
            return Ok(false);
        }
        Ok(self.writer.call(|log, _| log.seal_open())??)
    }

    /// Whether the history tree has this entry; `None` if that can't be told. `sibling` keeps what
    /// was found out about the leaf beside it.
    fn is_entry(
        &self,
        index: u64,
        time: u64,
        id: &Hash,
        sibling: &OnceCell<Option<Sibling>>,
    ) -> Option<bool> {
        let history = self.shared.trees.history();
        let source = self.source();
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
        Some(match (*sibling.get_or_init(|| self.sibling(index ^ 1)))? {
            Sibling::Read { time, id } => is_over(&leaf_hash(time, &id)),
            // Both are of one batch, or this is not to be told.
            Sibling::Damaged { id } => {
                let time = if index & 1 == 0 { time.checked_add(1) } else { time.checked_sub(1) };
                is_over(&leaf_hash(time?, &id))
            }
        })
    }

    fn sibling(&self, index: u64) -> Option<Sibling> {
        if let Ok(entry) = self.reader.entry_at(index) {
            return Some(Sibling::Read { time: entry.time, id: entry.id });
        }
        self.id_at(self.reader.position_of(index).ok()?).map(|id| Sibling::Damaged { id })
    }

    /// The id of the assertion whose record is at a position, by the set tree. O(N).
    pub(crate) fn id_at(&self, position: u64) -> Option<Hash> {
        let mut entries = self.shared.trees.set_snapshot().iter().filter_map(Result::ok);
        entries.find(|entry| entry.position == position).map(|entry| entry.id)
    }
}

/// What is known of the leaf beside another one.
#[derive(Clone, Copy, Debug)]
enum Sibling {
    Read {
        time: u64,
        id: Hash,
    },
    /// Its time can't be read.
    Damaged {
        id: Hash,
    },
}
