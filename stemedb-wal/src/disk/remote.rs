//! Sealed segments whose bodies are only in an archive, as if they lay in the directory.
//!
//! A segment that was archived can be dropped: a *stub* takes its place, a file that holds all of
//! its bytes but those of the bodies. Through a [`RemoteDisk`] the directory looks as before. Reads
//! of bodies go to the archive, in blocks, of which a bounded number is kept; all else, and so
//! opening, appending and comparing, needs no network.
//!
//! ```text
//!  remote-<generation, 4 hex digits>-<first index, 20 decimal digits>.seg
//!
//!  byte 0           8           12          16          24          28         32
//!       +-----------+-----------+-----------+-----------+-----------+-----------+
//!       | "STEMERMT"| version 1 | parts u32 | length of | gaps u32  | place len |
//!       |           |           |           | segment   |           | u32       |
//!       +-----------+-----------+-----------+-----------+-----------+-----------+
//!       | place: the URL of the archive | name of each part, 32 bytes           |
//!       +-------------------------------+---------------------------------------+
//!       | gaps: offset in the segment u32, bytes kept before it u32; then one   |
//!       | such pair for the end of the segment                                  |
//!       +-----------------------------------------------------------------------+
//!       | bytes kept: all of the segment that is in no gap, in order            |
//!       +-----------------------------------------------------------------------+
//! ```
//!
//! This is cut into blocks of 4,092 bytes, each followed by the CRC-32 of its number (u32) and its
//! bytes. Parts are of [`PART_LEN`] bytes, the last one shorter. What comes from the archive is not
//! held against the hash of its part, which would take all of it, but against the checksum in the
//! head of its record, which is here, and against its id.

mod stub;

use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use stemedb_merkle::Hash;

use self::stub::RemoteFile;
use super::{Bytes, DirLock, Disk, DiskFile};
use crate::{
    record::HEAD_LEN,
    sealed::check_segment,
    segment::{SEGMENT_LEN_MAX, parse_segment_name},
};

/// How long the parts of a segment in the archive are.
pub const PART_LEN: u64 = 16 << 20;

/// The longest name of an archive, in bytes.
const PLACE_LEN_MAX: usize = 4096;

/// How many blocks are kept: 16 MiB.
const BLOCKS_MAX: usize = 64;

/// Where the bodies of dropped segments are read.
pub trait SegmentSource: fmt::Debug + Send + Sync {
    /// These bytes of a part. Returns within a bounded time.
    ///
    /// # Errors
    ///
    /// If they cannot be read: then the read that needs them fails, and is no damage.
    fn read(&self, part: &Hash, range: Range<u64>) -> io::Result<Vec<u8>>;
}

/// Why a body that is only in an archive can't be read. Nothing of the store is damaged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The store was opened without its archive.
    #[error(
        "this body is only in the archive at {place}: open the store with its archive \
         (--archive {place})"
    )]
    NoSource {
        /// The URL of the archive.
        place: String,
    },

    /// The archive can't be reached, or does not have it.
    #[error("this body is only in the archive at {place}, and cannot be read from there")]
    Unreachable {
        /// The URL of the archive.
        place: String,
        /// What the archive said.
        #[source]
        source: Arc<io::Error>,
    },

    /// The archive gave other bytes than were sent there.
    #[error(
        "this body is only in the archive at {place}, and what is there is not what was sent: \
         `stemedb archive verify` lists what is damaged"
    )]
    Damaged {
        /// The URL of the archive.
        place: String,
    },
}

/// A stub is not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stub that is in the place of an archived segment is not what was written")]
pub(crate) struct StubDamaged;

impl From<StubDamaged> for io::Error {
    fn from(damaged: StubDamaged) -> Self {
        Self::new(io::ErrorKind::InvalidData, damaged)
    }
}

/// A directory in which segments may be stubs.
#[derive(Clone, Debug)]
pub struct RemoteDisk {
    inner: Arc<dyn Disk>,
    shared: Arc<Shared>,
}

/// Blocks of parts that were read: part, offset, bytes. Those used last are at the back.
type Blocks = VecDeque<(Hash, u64, Arc<[u8]>)>;

#[derive(Debug)]
struct Shared {
    source: Option<Arc<dyn SegmentSource>>,
    blocks: Mutex<Blocks>,
    /// Whether any stub was opened yet.
    used: AtomicBool,
}

/// The name of a segment's stub; `None` for what is no segment.
pub(crate) fn stub_name(segment: &str) -> Option<String> {
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
    /// A directory; the bodies of its dropped segments are read from `source`, or can't be without
    /// one.
    pub fn new(inner: Arc<dyn Disk>, source: Option<Arc<dyn SegmentSource>>) -> Self {
        let (blocks, used) = (Mutex::default(), AtomicBool::new(false));
        Self { inner, shared: Arc::new(Shared { source, blocks, used }) }
    }

    /// Whether bodies can be read that are only in an archive.
    pub fn has_source(&self) -> bool {
        self.shared.source.is_some()
    }

    /// Whether any dropped segment was opened: else none is there that anybody reads.
    pub fn was_used(&self) -> bool {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// The names of the segments whose bodies are only in an archive.
    ///
    /// # Errors
    ///
    /// If the directory can't be listed.
    pub fn dropped(&self) -> io::Result<Vec<String>> {
        let names = self.inner.list()?;
        let stubs = names.iter().filter_map(|name| segment_of(name));
        Ok(stubs.filter(|segment| names.binary_search(segment).is_err()).collect())
    }

    /// The name of the file that is there for a segment: its own, or that of its stub.
    pub fn file_name(segment: &str, file: &dyn DiskFile) -> String {
        let stub = file.is_remote().then(|| stub_name(segment)).flatten();
        stub.unwrap_or_else(|| segment.to_owned())
    }

    /// Whether a file is the stub of a segment.
    pub fn is_stub(name: &str) -> bool {
        segment_of(name).is_some()
    }

    /// Puts a stub in the place of a segment that is sealed and in the archive at `place`, as these
    /// parts; the caller knows that they are there. Returns how many bytes are freed once
    /// nobody has the file open.
    ///
    /// After a crash at any point of it the segment is here, or the stub, or both; then the segment
    /// counts.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if the file is not whole, or not what the parts are; whatever
    /// the disk reports. The segment is then still here, or its stub if only the last sync failed.
    pub fn drop_segment(
        &self,
        name: &str,
        place: &str,
        parts: &[Hash],
        hash: &dyn Fn(&[u8]) -> Hash,
    ) -> io::Result<u64> {
        let stub_name = stub_name(name).ok_or(io::ErrorKind::InvalidInput)?;
        let file = self.inner.open(name)?;
        let len = file.len()?;
        if len > SEGMENT_LEN_MAX || place.len() > PLACE_LEN_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let part_len = usize::try_from(PART_LEN).unwrap_or(usize::MAX);
        if !bytes.chunks(part_len).map(hash).eq(parts.iter().copied()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let found = check_segment(&bytes)
            .map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        let records = found.placed.iter().filter(|placed| placed.len > 0);
        let gaps: Vec<Range<u64>> = records
            .map(|placed| {
                let start = placed.position.get() - found.header.first_position + HEAD_LEN as u64;
                start..start + u64::from(placed.len)
            })
            .collect();
        let temporary = format!("{stub_name}.tmp");
        let made = self.inner.create(&temporary)?;
        made.write_at(&stub::encode(&bytes, &gaps, place, parts)?, 0)?;
        made.sync()?;
        // Nothing is removed before what is kept of it was read back.
        let mut kept = vec![0; bytes.len()];
        RemoteFile::open(made, &self.shared)?.read_local_at(&mut kept, 0)?;
        for gap in &gaps {
            let gap =
                usize::try_from(gap.start).unwrap_or(0)..usize::try_from(gap.end).unwrap_or(0);
            bytes.get_mut(gap).unwrap_or_default().fill(0);
        }
        if kept != bytes {
            return Err(StubDamaged.into());
        }
        self.inner.rename(&temporary, &stub_name)?;
        // Before the segment goes: of the two, one is always there.
        self.inner.sync_dir()?;
        self.inner.remove(name)?;
        self.inner.sync_dir()?;
        Ok(len)
    }

    /// The stub of a segment that is not here.
    fn stub(&self, segment: &str) -> io::Result<Arc<dyn DiskFile>> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let file = self.inner.open(&stub_name(segment).ok_or_else(missing)?)?;
        let file = RemoteFile::open(file, &self.shared)?;
        self.shared.used.store(true, Ordering::Relaxed);
        Ok(Arc::new(file))
    }

    /// Whether a file is there.
    fn is_there(&self, name: &str) -> io::Result<bool> {
        match self.inner.open(name) {
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
                self.inner.remove(&stub)?;
                self.inner.sync_dir()?;
                Ok(name.to_owned())
            }
            (false, true) => Ok(stub),
            _ => Ok(name.to_owned()),
        }
    }
}

impl Disk for RemoteDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.inner.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.stub(name),
            opened => opened,
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.create(name)
    }

    fn create_private(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.create_private(name)
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
        self.inner.rename(&self.in_its_place(from)?, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(&self.in_its_place(name)?)
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

impl Shared {
    /// Bytes of a part, from memory or from the archive.
    fn block(&self, place: &str, part: &Hash, range: Range<u64>) -> io::Result<Arc<[u8]>> {
        {
            let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
            let found = blocks.iter().position(|(of, at, _)| (of, at) == (part, &range.start));
            if let Some(block) = found.and_then(|found| blocks.remove(found)) {
                let bytes = Arc::clone(&block.2);
                blocks.push_back(block);
                return Ok(bytes);
            }
        }
        let place = || place.to_owned();
        let Some(source) = &self.source else {
            return Err(io::Error::other(RemoteError::NoSource { place: place() }));
        };
        let bytes = source.read(part, range.clone()).map_err(|source| {
            let source = Arc::new(source);
            io::Error::other(RemoteError::Unreachable { place: place(), source })
        })?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(io::Error::other(RemoteError::Damaged { place: place() }));
        }
        let bytes: Arc<[u8]> = bytes.into();
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.push_back((*part, range.start, Arc::clone(&bytes)));
        if blocks.len() > BLOCKS_MAX {
            blocks.pop_front();
        }
        Ok(bytes)
    }

    /// Forgets the blocks of a part that turned out to be wrong: it may be put right.
    fn forget(&self, parts: &[Hash]) {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.retain(|(of, ..)| !parts.contains(of));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "segment-001f-00000000000000012345.log";
    const FIRST_STUB: &str = "remote-001f-00000000000000012345.seg";

    /// The format on disk, byte for byte. If this fails the format has changed: give stubs a new
    /// version, keep a reader for the old one, and only then write down the new bytes.
    #[test]
    fn golden_bytes() {
        let segment: Vec<u8> = (0..200).collect();
        let stub = stub::encode(&segment, &[100..120, 130..131], "p", &[[3; 32]]).unwrap();
        let mut expected = b"STEMERMT".to_vec();
        expected.extend_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[2, 0, 0, 0, 1, 0, 0, 0, b'p']);
        expected.extend_from_slice(&[3; 32]);
        expected.extend_from_slice(&[100, 0, 0, 0, 100, 0, 0, 0, 130, 0, 0, 0, 110, 0, 0, 0]);
        expected.extend_from_slice(&[200, 0, 0, 0, 179, 0, 0, 0]);
        expected.extend((0..200).filter(|n| !(100..120).contains(n) && *n != 130));
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[0; 4]);
        hasher.update(&expected);
        expected.extend_from_slice(&hasher.finalize().to_le_bytes());
        assert_eq!(stub, expected, "{stub:02x?}");
    }

    #[test]
    fn names_are_read_back_and_nothing_else_is_a_name() {
        assert_eq!(segment_of(FIRST_STUB).as_deref(), Some(FIRST));
        assert_eq!(stub_name(FIRST).as_deref(), Some(FIRST_STUB));
        for bad in ["remote-1f-1.seg", "remote-001f-00000000000000012345.seg.tmp", "x"] {
            assert_eq!(segment_of(bad), None, "{bad}");
        }
    }
}
