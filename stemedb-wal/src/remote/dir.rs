//! The directory of a log, in which stubs stand for segments that were dropped.

use std::{
    io,
    ops::{Deref, Range},
    sync::Arc,
};

use stemedb_merkle::Hash;

use super::{
    Bodies, PLACE_LEN_MAX, RemoteError, SegmentSource, StubDamaged,
    stub::{self, Stub},
};
use crate::{
    compressed::{self, CompressedSegment},
    disk::{Disk, DiskFile},
    segment::{segment_of_stub, stub_name},
};

/// The directory of a log. Of a segment that was dropped, names and reads are as before.
#[derive(Clone, Debug)]
pub struct LogDir {
    disk: Arc<dyn Disk>,
    bodies: Arc<Bodies>,
}

/// The file of a segment: its own, or its stub.
#[derive(Debug)]
pub enum Opened {
    /// All bytes are here, as they are.
    Local(Arc<dyn DiskFile>),
    /// All bytes are here, compressed.
    Compressed(CompressedSegment),
    /// The bodies are only in an archive.
    Remote(Arc<Stub>),
}

impl LogDir {
    /// A directory; the bodies of its dropped segments are read from `source`, or can't be without
    /// one.
    pub fn new(disk: Arc<dyn Disk>, source: Option<Arc<dyn SegmentSource>>) -> Self {
        Self { disk, bodies: Arc::new(Bodies { source, ..Bodies::default() }) }
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Whether bodies can be read that are only in an archive.
    pub(crate) fn has_source(&self) -> bool {
        self.bodies.source.is_some()
    }

    /// Whether any dropped segment was opened: else none is there that anybody reads.
    pub(crate) fn was_used(&self) -> bool {
        self.bodies.was_used()
    }

    /// Opens a segment. Of one that is compressed, lengths, offsets and reads are those of the
    /// segment as it was.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], and whatever the disk reports;
    /// [`CannotDecompress`](crate::sealed::CannotDecompress), as the inner error, if it is
    /// compressed and this build has not the feature `zstd`.
    pub fn open_segment(&self, name: &str) -> io::Result<Opened> {
        match (self.disk.open(name), stub_name(name)) {
            (Err(error), Some(stub)) if error.kind() == io::ErrorKind::NotFound => {
                let stub = Stub::open(self.disk.open(&stub)?, &self.bodies)?;
                Ok(Opened::Remote(Arc::new(stub)))
            }
            (opened, _) => {
                let file = opened?;
                let compressed = CompressedSegment::open(&file)?;
                Ok(compressed.map_or_else(|| Opened::Local(file), Opened::Compressed))
            }
        }
    }

    /// Whether a segment of this length is there, or the stub of one.
    pub(crate) fn has_segment(&self, name: &str, len: u64) -> io::Result<bool> {
        match (self.disk.file_len(name), stub_name(name)) {
            (Err(error), Some(stub)) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.file_len(&stub).map(|_| true)
            }
            (found, _) => Ok(found? == len || self.plain_len(name)? == Some(len)),
        }
    }

    /// How long a segment is that is compressed; `None` if it is not.
    fn plain_len(&self, name: &str) -> io::Result<Option<u64>> {
        compressed::plain_len(&*self.disk.open(name)?)
    }

    /// The names of all files, sorted; those of dropped segments beside those of their stubs.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    pub fn list_segments(&self) -> io::Result<Vec<String>> {
        let mut names = self.disk.list()?;
        let dropped = dropped(&names);
        names.extend(dropped);
        names.sort_unstable();
        Ok(names)
    }

    /// The names of the segments whose bodies are only in an archive.
    ///
    /// # Errors
    ///
    /// If the directory can't be listed.
    pub fn dropped(&self) -> io::Result<Vec<String>> {
        self.disk.list().map(|names| dropped(&names))
    }

    /// Writes a stub in the place of a segment, of which `bytes` are the bytes and `gaps` those of
    /// the bodies. What [`drop_segment`](crate::sealed::drop_segment) does but for its checks.
    pub(crate) fn put_stub(
        &self,
        name: &str,
        mut bytes: Vec<u8>,
        gaps: &[Range<usize>],
        place: &str,
        parts: &[Hash],
    ) -> io::Result<()> {
        let stub_name = stub_name(name).ok_or(io::ErrorKind::InvalidInput)?;
        if place.len() > PLACE_LEN_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let temporary = format!("{stub_name}.tmp");
        let made = self.disk.create(&temporary)?;
        made.write_at(&stub::encode(&bytes, gaps, place, parts)?, 0)?;
        made.sync()?;
        // Nothing is removed before what is kept of it was read back.
        let mut kept = vec![0; bytes.len()];
        Stub::open(made, &self.bodies)?.read_local_at(&mut kept, 0)?;
        for gap in gaps {
            bytes.get_mut(gap.clone()).ok_or(StubDamaged)?.fill(0);
        }
        if kept != bytes {
            return Err(StubDamaged.into());
        }
        self.disk.rename(&temporary, &stub_name)?;
        // Before the segment goes: of the two, one is always there.
        self.disk.sync_dir()?;
        self.disk.remove(name)?;
        self.disk.sync_dir()
    }

    /// Renames a segment, or its stub.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    pub fn rename_segment(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(&self.in_its_place(from)?, to)
    }

    /// Removes a segment, or its stub.
    pub(crate) fn remove_segment(&self, name: &str) -> io::Result<()> {
        self.disk.remove(&self.in_its_place(name)?)
    }

    /// Whether a file is there.
    fn is_there(&self, name: &str) -> io::Result<bool> {
        match self.disk.open(name) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Which file is to be renamed or removed in the place of a segment. Where a crash has left
    /// both the segment and its stub, the stub goes first: it must not stand for what is gone.
    fn in_its_place(&self, name: &str) -> io::Result<String> {
        let Some(stub) = stub_name(name) else { return Ok(name.to_owned()) };
        match (self.is_there(name)?, self.is_there(&stub)?) {
            (true, true) => {
                self.disk.remove(&stub)?;
                self.disk.sync_dir()?;
                Ok(name.to_owned())
            }
            (false, true) => Ok(stub),
            _ => Ok(name.to_owned()),
        }
    }
}

/// All else is done to the disk itself.
impl Deref for LogDir {
    type Target = dyn Disk;

    fn deref(&self) -> &Self::Target {
        &*self.disk
    }
}

#[expect(clippy::len_without_is_empty, reason = "asking costs a call that can fail")]
impl Opened {
    /// The length of the segment in bytes.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    pub fn len(&self) -> io::Result<u64> {
        match self {
            Self::Local(file) => file.len(),
            Self::Compressed(segment) => Ok(segment.len()),
            Self::Remote(stub) => Ok(stub.len()),
        }
    }

    /// Reads at `offset` until the buffer is full or the segment ends; returns how much was read.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports; [`RemoteError`], as the inner error, of the archive.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read_at(buffer, offset),
            Self::Compressed(segment) => segment.read_at(buffer, offset),
            Self::Remote(stub) => stub.read_at(buffer, offset),
        }
    }

    /// As [`read_at`](Self::read_at); of a compressed block that the disk refuses to read only the
    /// bytes are lost, and taken for damaged ones.
    pub(crate) fn read_salvaged_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Compressed(segment) => segment.read_salvaged_at(buffer, offset),
            Self::Local(_) | Self::Remote(_) => self.read_at(buffer, offset),
        }
    }

    /// As [`read_at`](Self::read_at), with zeros for bodies that are only in an archive: needs no
    /// network.
    ///
    /// # Errors
    ///
    /// Whatever the disk reports.
    pub fn read_local_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.read_at(buffer, offset),
            Self::Compressed(segment) => segment.read_at(buffer, offset),
            Self::Remote(stub) => stub.read_local_at(buffer, offset),
        }
    }

    /// Whether the bodies are only in an archive.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// Whether a read of the segment is one of the file.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Whether all is what was written that no read of the segment shows.
    pub(crate) fn is_intact(&self) -> io::Result<bool> {
        match self {
            Self::Compressed(segment) => segment.is_intact(),
            Self::Local(_) | Self::Remote(_) => Ok(true),
        }
    }

    /// The file of a compressed segment as it is; `None` of any other.
    pub(crate) fn compressed_file(&self) -> Option<Arc<dyn DiskFile>> {
        match self {
            Self::Compressed(segment) => Some(Arc::clone(segment.stored())),
            Self::Local(_) | Self::Remote(_) => None,
        }
    }

    /// Takes note that bodies from an archive are not what was sent there. The error to report;
    /// none if they are here.
    pub(crate) fn invalidate(&self) -> Option<RemoteError> {
        match self {
            Self::Local(_) | Self::Compressed(_) => None,
            Self::Remote(stub) => Some(stub.invalidate()),
        }
    }
}

/// The segments of which only stubs are among these names, which are sorted.
fn dropped(names: &[String]) -> Vec<String> {
    let stubs = names.iter().filter_map(|name| segment_of_stub(name));
    stubs.filter(|segment| names.binary_search(segment).is_err()).collect()
}
