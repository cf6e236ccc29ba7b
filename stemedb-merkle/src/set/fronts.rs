//! Looking up ids of which only the first half is known.

use super::{
    Snapshot,
    archive::{ArchiveError, prefix},
    ask::{PATHS_AT_ONCE, Reach, ask},
    node::{Child, Entry, bits},
};
use crate::Hash;

/// So many bits of an id are known.
const FRONT_BITS: usize = 128;

impl Snapshot {
    /// For each of these, the id that begins with it; `None` where there is none, or more than one.
    ///
    /// Fastest if they ascend, when neighbours have most of their paths in common. O(log N) each,
    /// O(1) in an archive.
    ///
    /// # Errors
    ///
    /// If the part of an archive that one of them belongs to is damaged.
    pub fn ids_beginning(&self, fronts: &[[u8; 16]]) -> Result<Vec<Option<Hash>>, ArchiveError> {
        let mut found = Vec::with_capacity(fronts.len());
        let mut paths = Vec::with_capacity(PATHS_AT_ONCE.min(fronts.len()));
        for fronts in fronts.chunks(PATHS_AT_ONCE) {
            paths.clear();
            paths.extend(fronts.iter().map(first_id));
            ask(&self.top, 0, &paths, |id| id, Reach::Ids);
            for first in &paths {
                found.push(self.id_beginning(first)?);
            }
        }
        Ok(found)
    }

    /// The only id that begins with the front of this one, which is the first that could.
    fn id_beginning(&self, first: &Hash) -> Result<Option<Hash>, ArchiveError> {
        let mut child = &self.top;
        let mut depth = 0;
        loop {
            match (child, &self.archive) {
                (Child::Page(entries), _) => return Ok(only(entries, first)),
                (Child::Archived, Some(archive)) => {
                    let mut entries = Vec::new();
                    let bits = archive.page_bits();
                    archive.entries(bits, prefix(first, bits), &mut entries)?;
                    return Ok(only(&entries, first));
                }
                (Child::Empty | Child::Archived, _) => return Ok(None),
                _ => {}
            }
            let Some(node) = child.node() else { return Ok(None) };
            let count = node.bits();
            if depth + count > FRONT_BITS {
                // Ids that share more bits than are known.
                return self.id_between(first);
            }
            child = node.child(bits(first, depth, count));
            depth += count;
        }
    }

    fn id_between(&self, first: &Hash) -> Result<Option<Hash>, ArchiveError> {
        let mut last = *first;
        last.iter_mut().skip(FRONT_BITS / 8).for_each(|byte| *byte = 0xff);
        let mut found = self.range(*first..=last);
        let id = found.next().transpose()?.map(|entry| entry.id);
        let more = found.next().transpose()?.is_some();
        Ok(id.filter(|_| !more))
    }
}

fn first_id(front: &[u8; 16]) -> Hash {
    let mut id = [0; 32];
    for (byte, known) in id.iter_mut().zip(front) {
        *byte = *known;
    }
    id
}

/// The one entry with the same front.
fn only(entries: &[Entry], first: &Hash) -> Option<Hash> {
    let front = first.first_chunk::<16>();
    let mut found = entries.iter().filter(|entry| entry.id.first_chunk::<16>() == front);
    let id = found.next().map(|entry| entry.id);
    if found.next().is_some() { None } else { id }
}
