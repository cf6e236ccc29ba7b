//! Puts a damaged record of a log in use back as it was written.
//!
//! What a record is on the disk follows from its place, its index, time and id, and its body: with
//! the body come back from elsewhere, each byte can be written again. What else of the segment
//! follows from the rest (headers and ends of batches, offsets, trailer) is written with it.
//!
//! Nothing is ever written into the damaged file: a backup may share it. Its successor is written
//! beside it, synced, and renamed over it, after a copy of what was there was made. After a crash
//! at any point one of the two is there, whole, and the log opens with either.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use stemedb_merkle::{Hash, LogIndex, Timestamp};

use super::{
    HashBody,
    salvage::{Context, Salvaged, salvage},
};
use crate::{
    batch::{self, BatchHeader},
    disk::{Disk, Quarantine},
    error::{Action, DiskError, HealError},
    files,
    internal::{in_memory, part, rest_of},
    log::{
        LogReader,
        handles::SealedFile,
        segments::{Offsets, Segment},
    },
    position::Position,
    record::{HEAD_LEN, Head, Kind},
    segment::SegmentHeader,
};

/// So many entries on either side are asked for the time of one whose head is damaged: a sector of
/// the disk holds no more.
const NEIGHBOURS: u64 = 70;

/// What [`LogReader::heal`] is to put right.
#[derive(Clone, Copy)]
pub struct Heal<'a> {
    /// Where the record is; without one, any place in the segment.
    pub position: Position,
    /// The id of the record, and the body that was lost. Without them only what follows from other
    /// bytes is written again.
    pub record: Option<(Hash, &'a [u8])>,
    /// Computes ids.
    pub hash: HashBody<'a>,
    /// Whether the entry with an index is known to have this time and id. Asked where the head of
    /// the record is damaged too.
    pub is_entry: &'a dyn Fn(LogIndex, Timestamp, &Hash) -> bool,
}

impl std::fmt::Debug for Heal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heal").field("position", &self.position).finish_non_exhaustive()
    }
}

/// What was written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The segment, which is another file now.
    pub path: PathBuf,
    /// The first byte of it that is another one.
    pub offset: u64,
    /// From there to the last one.
    pub len: u64,
    /// Where what these bytes were is kept.
    pub kept: PathBuf,
}

impl LogReader {
    /// Puts a damaged record of a sealed segment back as it was written, and whatever of its
    /// segment follows from the rest. `None` if nothing there was wrong.
    ///
    /// Appends and reads go on meanwhile; reads that began before may still see the damage. O(bytes
    /// of the segment) time and memory.
    ///
    /// # Errors
    ///
    /// See [`HealError`].
    pub fn heal(&self, heal: &Heal<'_>) -> Result<Option<Rewritten>, HealError> {
        let shared = self.shared();
        let _one_at_a_time = shared.healing();
        let disk = &*shared.disk;
        let segments = shared.segments();
        let behind = segments.partition_point(|segment| {
            let first_position = segment.header.first_position;
            first_position <= heal.position.get()
        });
        let segment = behind.checked_sub(1).and_then(|at| segments.get(at));
        let segment = segment.ok_or(HealError::NotFound { position: heal.position })?;
        let Some(next) = segments.get(behind).map(|next| next.header) else {
            return Err(HealError::Open { path: shared.path(segment) });
        };
        let file = segment.on(disk);
        if file.is_remote()? {
            return Err(HealError::Remote { path: shared.path(segment) });
        }
        let sealed_len = next.first_position - segment.header.first_position;
        // What the disk cannot read is put right as any damage is.
        let before = file.read_sectors(file.len()?.max(sealed_len))?.bytes;
        let mut after = before.clone();
        after.resize(in_memory(sealed_len), 0);
        let repair = SegmentRepair { reader: self, segment, next: &next, heal };
        repair.put_record(&mut after)?;
        let offsets = repair.put_rest(&mut after);
        let intact = file.is_intact()?;
        let Some((offset, len)) =
            difference(&before, &after).or_else(|| (!intact).then_some((0, 0)))
        else {
            return Ok(None);
        };
        let kept = if let Some(stored) = file.compressed_bytes()? {
            // What was damaged there is not in the plain bytes.
            replace(disk, &segment.name, &segment.name, &stored, &after)?
        } else {
            let changed = part(&before, offset..(offset + len).min(before.len()));
            let part_name = format!("{}.at-{offset}", segment.name);
            replace(disk, &segment.name, &part_name, changed, &after)?
        };
        // From here on it is in place, durable or not.
        let synced = files::sync_dir(disk);
        let opened = shared.handles.dir().open_segment(&segment.name);
        let opened = opened.map_err(|source| file.failed(Action::Open, source))?;
        shared.handles.close_all();
        let renewed = Segment {
            name: segment.name.clone(),
            file: SealedFile::opened(&segment.name, opened, &shared.handles),
            header: segment.header,
            offsets: match offsets {
                Some(offsets) => offsets,
                None => repair.offsets_as_before(),
            },
        };
        shared.replace(segment, Arc::new(renewed));
        synced?;
        Ok(Some(Rewritten {
            path: disk.path(&segment.name),
            offset: offset as u64,
            len: len as u64,
            kept: disk.path(&kept),
        }))
    }
}

/// A segment and what is to be put right in it.
struct SegmentRepair<'a> {
    reader: &'a LogReader,
    segment: &'a Arc<Segment>,
    next: &'a SegmentHeader,
    heal: &'a Heal<'a>,
}

impl SegmentRepair<'_> {
    /// Puts the record into the bytes of the segment.
    fn put_record(&self, bytes: &mut [u8]) -> Result<(), HealError> {
        let Some((id, body)) = self.heal.record else { return Ok(()) };
        let position = self.heal.position.get();
        let at = in_memory(position - self.segment.header.first_position);
        let salt = self.segment.salt();
        let other = || HealError::Other { position: self.heal.position, id };
        let len = u32::try_from(body.len()).map_err(|_| other())?;
        let head = match Head::parse(rest_of(bytes, at), salt, position) {
            Some(head) if !head.kind.has_body() => return Err(other()),
            Some(head) => head,
            None => {
                let (index, time) = self.entry(bytes, at, &id).ok_or_else(|| {
                    let path = self.reader.shared().path(self.segment);
                    HealError::Unknown { path, offset: at as u64 }
                })?;
                let body_sum = salt.checksum(position, body);
                Head { kind: Kind::Entry, len, index, time, id, body_sum }
            }
        };
        if head.id != id || self.heal.hash.id(body) != id || !head.covers(body, salt, position) {
            return Err(other());
        }
        let place = bytes.get_mut(at..at + HEAD_LEN + body.len());
        let (front, behind) =
            place.and_then(|place| place.split_at_mut_checked(HEAD_LEN)).ok_or_else(other)?;
        front.copy_from_slice(&head.encode(salt, position));
        behind.copy_from_slice(body);
        Ok(())
    }

    /// Index and time of the entry whose head, at `at`, is damaged: the index by the list of
    /// offsets, the time from what lies around it, and both held against what is known of them.
    fn entry(&self, bytes: &[u8], at: usize, id: &Hash) -> Option<(u64, u64)> {
        let header = &self.segment.header;
        let number = self.number_of(u32::try_from(at).ok()?)?;
        let index = header.first_index + number;
        let time_of = |index| {
            let entry = self.reader.entry_at(LogIndex(index)).ok()?;
            Some(entry.time.as_ntp64())
        };
        let batch = at.checked_sub(batch::HEADER_LEN).and_then(|start| {
            let position = header.first_position + start as u64;
            let found = BatchHeader::parse(bytes.get(start..)?, header.salt, position)?;
            Some(found.first_time)
        });
        let said = bytes.get(at + 20..at + 28)?.first_chunk::<8>()?;
        // Within a batch each time is one more than the one before, so that any of its entries
        // tells.
        let around = (1..=NEIGHBOURS).flat_map(|distance| {
            let before = index.checked_sub(distance).and_then(time_of);
            let behind = time_of(index + distance);
            [
                before.and_then(|time| time.checked_add(distance)),
                behind.and_then(|time| time.checked_sub(distance)),
            ]
        });
        let mut tried = BTreeSet::new();
        let mut times = [Some(u64::from_le_bytes(*said)), batch]
            .into_iter()
            .chain(around)
            .flatten()
            .filter(|time| tried.insert(*time));
        let is_entry =
            |time| (self.heal.is_entry)(LogIndex(index), Timestamp::from_ntp64(time), id);
        times.find(|time| is_entry(*time)).map(|time| (index, time))
    }

    /// Which entry of the segment begins at an offset.
    fn number_of(&self, offset: u32) -> Option<u64> {
        let disk = &*self.reader.shared().disk;
        let count = self.next.first_index.checked_sub(self.segment.header.first_index)?;
        let at = |number: u64| -> Option<u32> {
            let mut out = [0];
            let found = self.segment.offsets_into(disk, number, &mut out).ok()?;
            (found == 1).then_some(out[0])
        };
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            if at(middle)? < offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < count && at(low)? == offset).then_some(low)
    }

    /// Writes again what follows from the rest, if all entries of the segment are known; where
    /// the offsets are then.
    fn put_rest(&self, bytes: &mut [u8]) -> Option<Offsets> {
        let header = &self.segment.header;
        put(bytes, 0, &header.encode())?;
        let context = Context {
            batches_end: match self.segment.offsets {
                Offsets::File { at, .. } => Some(at),
                Offsets::Memory(_) => None,
            },
            sealed_len: Some(bytes.len() as u64),
            hash: Some(self.heal.hash),
            ..Context::new(header)
        };
        let found = salvage(bytes, &context);
        if !found.is_repairable() || found.next_index != self.next.first_index {
            return None;
        }
        let (footer, sum) = found.footer(header);
        if sum != self.next.previous_sum || found.end + footer.len() != bytes.len() {
            return None;
        }
        for (at, edit) in &found.edits {
            match lost(&found, *at) {
                // Its body is still lost, and a hole only repair makes.
                Some(head) => {
                    let position = header.first_position + *at as u64;
                    put(bytes, *at, &head.encode(header.salt, position))?;
                }
                None => put(bytes, *at, edit)?,
            }
        }
        put(bytes, found.end, &footer)?;
        let entries = u32::try_from(found.offsets().len()).ok()?;
        Some(Offsets::File { at: found.end as u64, entries })
    }

    fn offsets_as_before(&self) -> Offsets {
        match &self.segment.offsets {
            Offsets::File { at, entries } => Offsets::File { at: *at, entries: *entries },
            // Those that are yet to be read are read from what is right now.
            Offsets::Memory(offsets) => Offsets::Memory(Arc::new(offsets.copy())),
        }
    }
}

/// The head of the record at an offset, if its body is lost.
fn lost(found: &Salvaged, at: usize) -> Option<Head> {
    let known = found.records.binary_search_by_key(&at, |known| known.offset).ok()?;
    let known = found.records.get(known)?;
    (!known.body && known.head.kind.has_body()).then_some(known.head)
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) -> Option<()> {
    bytes.get_mut(at..at.checked_add(part.len())?)?.copy_from_slice(part);
    Some(())
}

/// From the first byte that differs to the last: offset and length.
fn difference(before: &[u8], after: &[u8]) -> Option<(usize, usize)> {
    let common = before.len().min(after.len());
    let same = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let longest = before.len().max(after.len());
    if same == longest {
        return None;
    }
    if before.len() != after.len() {
        return Some((same, longest - same));
    }
    let behind = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    Some((same, common - behind - same))
}

/// Keeps a copy of what was there, and puts a new file in the place of the segment. Returns where
/// the former bytes are. If it fails, only the segment is left as it was.
fn replace(
    disk: &dyn Disk,
    name: &str,
    part_name: &str,
    part: &[u8],
    after: &[u8],
) -> Result<String, DiskError> {
    let kept = files::quarantine_name(disk, part_name, Quarantine::Damaged)?;
    let (kept_temporary, temporary) = (format!("{kept}.tmp"), format!("{name}.tmp"));
    let write = || {
        // The spare is not given up: appends go on.
        files::write_durably(disk, &kept_temporary, part)?;
        files::rename(disk, &kept_temporary, &kept)?;
        files::sync_dir(disk)?;
        files::write_durably(disk, &temporary, after)?;
        files::rename(disk, &temporary, name)
    };
    write().map(|()| kept.clone()).inspect_err(|_| {
        // What cannot be removed now is removed at the next opening, or harmless.
        for name in [&kept_temporary, &kept, &temporary] {
            let _ = disk.remove(name);
        }
    })
}
