//! A file on a disk with its name, which errors and damage say.

use std::io;

use stemedb_merkle::LogIndex;

use super::sectors::Sectors;
use crate::{
    disk::Disk,
    error::{Action, Damage, DamageKind, DiskError},
    internal::internal_error,
    log::handles::SegmentBytes,
    remote::StubDamaged,
    segment::{HEADER_LEN, SEGMENT_LEN_MAX, SegmentHeader, parse_segment_name, stub_name},
};

/// The file of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentFile<'a> {
    pub(crate) disk: &'a dyn Disk,
    pub(crate) name: &'a str,
    pub(crate) file: &'a SegmentBytes,
}

impl SegmentFile<'_> {
    /// The error of an operation on the file.
    pub(crate) fn failed(self, action: Action, source: io::Error) -> DiskError {
        DiskError::new(action, self.disk.path(self.name), source)
    }

    /// Damage of the file.
    pub(crate) fn damage(self, offset: u64, index: u64, what: DamageKind) -> Damage {
        Damage { path: self.disk.path(self.name), offset, index: LogIndex(index), what }
    }

    /// Damage of the stub in the place of the segment, whose first entry has this index.
    pub(crate) fn stub_damage(self, index: u64) -> Damage {
        damage_of_stub(self.disk, self.name, index)
    }

    /// Whether the bodies are only in an archive.
    pub(crate) fn is_remote(self) -> Result<bool, DiskError> {
        self.file.is_remote().map_err(|source| self.failed(Action::Open, source))
    }

    /// Whether all is what was written that no read of the segment shows.
    pub(crate) fn is_intact(self) -> Result<bool, DiskError> {
        let action = Action::Read { len: HEADER_LEN as u64, offset: 0 };
        self.file.is_intact().map_err(|source| self.failed(action, source))
    }

    /// All bytes of the file of a compressed segment, with what cannot be read filled in; `None` of
    /// any other.
    pub(crate) fn compressed_bytes(self) -> Result<Option<Vec<u8>>, DiskError> {
        let stored = self.file.compressed_file();
        let stored = stored.map_err(|source| self.failed(Action::Open, source))?;
        let Some(stored) = stored else { return Ok(None) };
        let stored = SegmentFile { file: &stored, ..self };
        Ok(Some(stored.read_sectors(stored.len()?)?.bytes))
    }

    pub(crate) fn len(self) -> Result<u64, DiskError> {
        self.file.len().map_err(|source| self.failed(Action::Measure, source))
    }

    /// Reads at `offset` until the buffer is full or the file ends.
    pub(crate) fn read_at(self, bytes: &mut [u8], offset: u64) -> Result<usize, DiskError> {
        let len = bytes.len() as u64;
        let read = self.file.read_at(bytes, offset);
        read.map_err(|source| self.failed(Action::Read { len, offset }, source))
    }

    /// The first `len` bytes, as far as the file reaches.
    pub(crate) fn read_all(self, len: u64) -> Result<Vec<u8>, DiskError> {
        let mut bytes = self.room(len)?;
        let read = self.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// As [`read_all`](Self::read_all), with what cannot be read filled in.
    pub(crate) fn read_sectors(self, len: u64) -> Result<Sectors, DiskError> {
        let read = Sectors::read(self.file, self.room(len)?);
        read.map_err(|source| self.failed(Action::Read { len, offset: 0 }, source))
    }

    /// What of a segment cannot be read, as damage: where, and in or before which entry.
    pub(crate) fn unreadable(
        self,
        sectors: &Sectors,
        header: &SegmentHeader,
    ) -> impl Iterator<Item = Damage> {
        sectors.unreadable.iter().map(move |range| {
            let what = DamageKind::Unreadable { len: range.end - range.start };
            self.damage(range.start, sectors.index_at(header, range.start), what)
        })
    }

    /// As [`read_all`](Self::read_all), of a segment in an archive, with zeros for bodies. Damage
    /// of what is kept here is the inner error.
    pub(crate) fn read_kept(self, len: u64) -> Result<Result<Vec<u8>, Damage>, DiskError> {
        let mut bytes = self.room(len.min(SEGMENT_LEN_MAX))?;
        match self.file.read_local_at(&mut bytes, 0) {
            Ok(read) => {
                bytes.truncate(read);
                Ok(Ok(bytes))
            }
            Err(source) => match stub_damage(self.disk, self.name, &source) {
                Some(damage) => Ok(Err(damage)),
                None => Err(self.failed(Action::Read { len, offset: 0 }, source)),
            },
        }
    }

    /// Room for so many bytes, all zeros.
    fn room(self, len: u64) -> Result<Vec<u8>, DiskError> {
        self.checked_len(len).map(|len| vec![0; len])
    }

    /// A vector with room for so many bytes.
    pub(crate) fn capacity(self, len: u64) -> Result<Vec<u8>, DiskError> {
        self.checked_len(len).map(Vec::with_capacity)
    }

    /// A length that a segment can have.
    pub(crate) fn checked_len(self, len: u64) -> Result<usize, DiskError> {
        let checked = usize::try_from(len).ok().filter(|_| len <= SEGMENT_LEN_MAX);
        checked.ok_or_else(|| {
            self.failed(Action::Read { len, offset: 0 }, io::ErrorKind::FileTooLarge.into())
        })
    }
}

/// The damage that an error is about, if it is that of a stub in the place of a segment.
pub(crate) fn stub_damage(disk: &dyn Disk, name: &str, error: &io::Error) -> Option<Damage> {
    let (_, index) = parse_segment_name(name).filter(|_| StubDamaged::is_cause_of(error))?;
    Some(damage_of_stub(disk, name, index))
}

fn damage_of_stub(disk: &dyn Disk, name: &str, index: u64) -> Damage {
    let stub = stub_name(name).unwrap_or_else(|| internal_error("a segment has another name"));
    let path = disk.path(&stub);
    Damage { path, offset: 0, index: LogIndex(index), what: DamageKind::Stub }
}
