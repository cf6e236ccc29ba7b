//! Sealed segments that are only in an archive, as if they lay in the directory.
//!
//! A segment that was archived can be dropped: a *stub* takes its place, a small file that holds
//! its header, its trailer, its length, and the names of the objects that its bytes are in. Through
//! a [`RemoteDisk`] the directory looks as before. What opening reads of a sealed segment is in the
//! stub, so it needs no network; all else is read from the archive, in blocks, of which a bounded
//! number is kept.
//!
//! ```text
//!  remote-<generation, 4 hex digits>-<first index, 20 decimal digits>.seg
//!
//!  byte 0           8           12          16          24          28         32
//!       +-----------+-----------+-----------+-----------+-----------+-----------+
//!       | "STEMERMT"| version 1 | crc u32   | length u64| parts u32 | zeros     |
//!       +-----------+-----------+-----------+-----------+-----------+-----------+
//!       | header of the segment, 96 bytes | trailer of the segment, 64 bytes    |
//!       +---------------------------------+-------------------------------------+
//!       | name of each part, 32 bytes                                           |
//!       +-----------------------------------------------------------------------+
//! ```
//!
//! The CRC covers all other bytes. Parts are of [`PART_LEN`] bytes, the last one shorter. Blocks
//! are not held against the hash of their part, which would take all of it: the checksums of
//! records and the ids of bodies tell what is wrong, as with what comes from the disk.

use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use stemedb_merkle::Hash;

use super::{Bytes, DirLock, Disk, DiskFile};
use crate::segment::{HEADER_LEN, SEGMENT_LEN_MAX, TRAILER_LEN, parse_segment_name};

/// How long the parts of a segment in the archive are.
pub const PART_LEN: u64 = 16 << 20;

/// How much is read from the archive at a time, at least.
const BLOCK_LEN: u64 = 256 << 10;

/// How many blocks are kept: 16 MiB.
const BLOCKS_MAX: usize = 64;

const MAGIC: [u8; 8] = *b"STEMERMT";
const VERSION: u32 = 1;
const FRONT_LEN: usize = 32;
const STUB_LEN_MIN: usize = FRONT_LEN + HEADER_LEN + TRAILER_LEN;
const STUB_LEN_MAX: u64 = STUB_LEN_MIN as u64 + 32 * SEGMENT_LEN_MAX.div_ceil(PART_LEN);

/// Where the bytes of dropped segments are read.
pub trait SegmentSource: fmt::Debug + Send + Sync {
    /// These bytes of a part.
    ///
    /// # Errors
    ///
    /// If they can't be had: then the read that needs them fails, and is no damage.
    fn read(&self, part: &Hash, range: Range<u64>) -> io::Result<Vec<u8>>;
}

/// Why a dropped segment can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this segment is only in the archive, and the store was opened without it: nothing is damaged; \
     name the archive"
)]
struct NoSource;

/// A directory in which segments may be stubs.
#[derive(Clone, Debug)]
pub struct RemoteDisk {
    inner: Arc<dyn Disk>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    source: Option<Arc<dyn SegmentSource>>,
    /// Those used last are at the back.
    blocks: Mutex<VecDeque<(Hash, u64, Arc<[u8]>)>>,
}

/// What of a dropped segment is here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stub {
    len: u64,
    header: [u8; HEADER_LEN],
    trailer: [u8; TRAILER_LEN],
    parts: Vec<Hash>,
}

impl Stub {
    /// The stub of a whole segment; `None` if that is too short to be one.
    fn of(bytes: &[u8], parts: &[Hash]) -> Option<Self> {
        let expected = (bytes.len() as u64).div_ceil(PART_LEN);
        (parts.len() as u64 == expected && bytes.len() >= HEADER_LEN + TRAILER_LEN).then_some(())?;
        Some(Self {
            len: bytes.len() as u64,
            header: *bytes.first_chunk()?,
            trailer: *bytes.last_chunk()?,
            parts: parts.to_vec(),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let front = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
        let mut rest = self.len.to_le_bytes().to_vec();
        rest.extend_from_slice(&count.to_le_bytes());
        rest.extend_from_slice(&[0; 4]);
        rest.extend_from_slice(&self.header);
        rest.extend_from_slice(&self.trailer);
        rest.extend_from_slice(self.parts.as_flattened());
        let crc = crc_of(&front, &rest).to_le_bytes();
        [front, crc.to_vec(), rest].concat()
    }

    /// Total: any bytes may come.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (front, rest) = bytes.split_first_chunk::<12>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc_of(front, rest)
            || *front != *[MAGIC.as_slice(), &VERSION.to_le_bytes()].concat()
        {
            return None;
        }
        let (len, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let (zeros, rest) = rest.split_first_chunk::<4>()?;
        let (header, rest) = rest.split_first_chunk::<HEADER_LEN>()?;
        let (trailer, rest) = rest.split_first_chunk::<TRAILER_LEN>()?;
        let (parts, surplus) = rest.as_chunks::<32>();
        let (len, count) = (u64::from_le_bytes(*len), u32::from_le_bytes(*count) as usize);
        let fits = *zeros == [0; 4]
            && surplus.is_empty()
            && parts.len() == count
            && len <= SEGMENT_LEN_MAX
            && len >= (HEADER_LEN + TRAILER_LEN) as u64
            && count as u64 == len.div_ceil(PART_LEN);
        fits.then(|| Self { len, header: *header, trailer: *trailer, parts: parts.to_vec() })
    }
}

fn crc_of(front: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(front);
    hasher.update(rest);
    hasher.finalize()
}

/// The name of a segment's stub; `None` for what is no segment.
fn stub_name(segment: &str) -> Option<String> {
    let (generation, first_index) = parse_segment_name(segment)?;
    Some(format!("remote-{generation:04x}-{first_index:020}.seg"))
}

/// The name of the segment whose stub this is.
fn segment_of(stub: &str) -> Option<String> {
    let name = stub.strip_prefix("remote-")?.strip_suffix(".seg")?;
    let segment = format!("segment-{name}.log");
    (stub_name(&segment)? == stub).then_some(segment)
}

impl RemoteDisk {
    /// A directory; its dropped segments are read from `source`, or can't be without one.
    pub fn new(inner: Arc<dyn Disk>, source: Option<Arc<dyn SegmentSource>>) -> Self {
        Self { inner, shared: Arc::new(Shared { source, blocks: Mutex::default() }) }
    }

    /// The names of the segments that are only in the archive.
    ///
    /// # Errors
    ///
    /// If the directory can't be listed.
    pub fn dropped(&self) -> io::Result<Vec<String>> {
        let names = self.inner.list()?;
        let stubs = names.iter().filter_map(|name| segment_of(name));
        Ok(stubs.filter(|segment| names.binary_search(segment).is_err()).collect())
    }

    /// Puts a stub in the place of a segment that is sealed and in the archive, as these parts;
    /// whoever calls this knows that they are there. Returns how many bytes are freed once nobody
    /// has the file open.
    ///
    /// After a crash at any point of it the segment is here, or is dropped.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if the file is not what the parts are; whatever the disk
    /// reports. The segment is then still here.
    pub fn drop_segment(
        &self,
        name: &str,
        parts: &[Hash],
        hash: impl Fn(&[u8]) -> Hash,
    ) -> io::Result<u64> {
        let stub_name = stub_name(name).ok_or(io::ErrorKind::InvalidInput)?;
        let file = self.inner.open(name)?;
        let len = file.len()?;
        if len > SEGMENT_LEN_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let part_len = usize::try_from(PART_LEN).unwrap_or(usize::MAX);
        let hashes = bytes.chunks(part_len).map(|part| hash(part));
        let stub = Stub::of(&bytes, parts).filter(|_| hashes.eq(parts.iter().copied()));
        let stub = stub.ok_or(io::ErrorKind::InvalidData)?;
        let temporary = format!("{stub_name}.tmp");
        let made = self.inner.create(&temporary)?;
        made.write_at(&stub.encode(), 0)?;
        made.sync()?;
        self.inner.rename(&temporary, &stub_name)?;
        // Before the segment goes: of the two, one is always there.
        self.inner.sync_dir()?;
        self.inner.remove(name)?;
        self.inner.sync_dir()?;
        Ok(len)
    }

    /// The stub of a segment that is not here.
    fn stub(&self, segment: &str) -> io::Result<Stub> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let file = self.inner.open(&stub_name(segment).ok_or_else(missing)?)?;
        let len = file.len()?;
        if len > STUB_LEN_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0)?;
        Stub::decode(bytes.get(..read).unwrap_or_default())
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Does something to a file or, if it is a segment that is not here, to its stub.
    fn or_stub<T>(&self, name: &str, act: impl Fn(&str) -> io::Result<T>) -> io::Result<T> {
        match (act(name), stub_name(name)) {
            (Err(error), Some(stub)) if error.kind() == io::ErrorKind::NotFound => act(&stub),
            (done, _) => done,
        }
    }
}

impl Disk for RemoteDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.inner.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let stub = self.stub(name)?;
                Ok(Arc::new(RemoteFile { stub, shared: Arc::clone(&self.shared) }))
            }
            opened => opened,
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.create(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.inner.list()?;
        let dropped: Vec<String> = names
            .iter()
            .filter_map(|name| segment_of(name))
            .filter(|segment| names.binary_search(segment).is_err())
            .collect();
        names.extend(dropped);
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.or_stub(from, |from| self.inner.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.or_stub(name, |name| self.inner.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        self.inner.lock()
    }

    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        self.inner.map(name, in_place)
    }

    fn available(&self) -> io::Result<u64> {
        self.inner.available()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inner.path(name)
    }
}

/// A dropped segment. Nothing can be written to it.
#[derive(Debug)]
struct RemoteFile {
    stub: Stub,
    shared: Arc<Shared>,
}

impl RemoteFile {
    /// The block that a byte of the file is in, and where in it that byte is.
    fn block(&self, offset: u64) -> io::Result<(Arc<[u8]>, usize)> {
        let number = usize::try_from(offset / PART_LEN).unwrap_or(usize::MAX);
        let part = self.stub.parts.get(number).ok_or(io::ErrorKind::InvalidInput)?;
        let part_len = (self.stub.len - offset / PART_LEN * PART_LEN).min(PART_LEN);
        let in_part = offset % PART_LEN;
        let start = in_part / BLOCK_LEN * BLOCK_LEN;
        let block = self.shared.block(part, start..(start + BLOCK_LEN).min(part_len))?;
        Ok((block, usize::try_from(in_part - start).unwrap_or(usize::MAX)))
    }
}

impl Shared {
    fn block(&self, part: &Hash, range: Range<u64>) -> io::Result<Arc<[u8]>> {
        {
            let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
            let found = blocks.iter().position(|(of, at, _)| (of, at) == (part, &range.start));
            if let Some(block) = found.and_then(|found| blocks.remove(found)) {
                let bytes = Arc::clone(&block.2);
                blocks.push_back(block);
                return Ok(bytes);
            }
        }
        let source = self.source.as_ref();
        let source = source.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, NoSource))?;
        let bytes = source.read(part, range.clone())?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes: Arc<[u8]> = bytes.into();
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.push_back((*part, range.start, Arc::clone(&bytes)));
        if blocks.len() > BLOCKS_MAX {
            blocks.pop_front();
        }
        Ok(bytes)
    }
}

impl DiskFile for RemoteFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.stub.len)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let Stub { len, header, trailer, .. } = &self.stub;
        let left = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted) else { return Ok(0) };
        let at = |start: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let here = |bytes: &[u8], start: u64| {
            let at = at(start)?;
            bytes.get(at..at.checked_add(wanted)?).map(<[u8]>::to_vec)
        };
        let known = here(header, 0).or_else(|| here(trailer, len - TRAILER_LEN as u64));
        if let Some(known) = known {
            buffer.copy_from_slice(&known);
            return Ok(wanted);
        }
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let (block, from) = self.block(offset + done as u64)?;
            let bytes = block.get(from..).unwrap_or_default();
            let count = bytes.len().min(rest.len());
            for (to, byte) in rest.iter_mut().zip(bytes) {
                *to = *byte;
            }
            done += count;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(done)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
