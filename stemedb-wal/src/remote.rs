//! Sealed segments whose bodies are only in an archive.
//!
//! A segment that was archived can be dropped: a *stub* takes its place, a file that holds all of
//! its bytes but those of the bodies. The log opens segments by a [`LogDir`], which knows both.
//! Reads of bodies go to the archive, in blocks, of which a bounded number is kept; all else, and
//! so opening, appending and comparing, needs no network.
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

mod dir;
mod stub;

use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use stemedb_merkle::Hash;

pub use self::{
    dir::{LogDir, Opened},
    stub::Stub,
};
pub use crate::segment::{segment_of_stub, stub_name};

/// How long the parts of a segment in the archive are.
pub const PART_LEN: usize = 16 << 20;

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
    #[error("this body is only in the archive at {place}: open the store with its archive")]
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
         verify the archive to see all that is damaged"
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

impl StubDamaged {
    pub(crate) fn is_cause_of(error: &io::Error) -> bool {
        error.get_ref().and_then(|cause| cause.downcast_ref::<Self>()).is_some()
    }
}

impl From<StubDamaged> for io::Error {
    fn from(damaged: StubDamaged) -> Self {
        Self::new(io::ErrorKind::InvalidData, damaged)
    }
}

/// Blocks of parts that were read: part, offset, bytes. Those used last are at the back.
type Blocks = VecDeque<(Hash, u64, Arc<[u8]>)>;

/// What is read of an archive.
#[derive(Debug, Default)]
struct Bodies {
    source: Option<Arc<dyn SegmentSource>>,
    blocks: Mutex<Blocks>,
    /// Whether any stub was opened yet.
    used: AtomicBool,
}

impl Bodies {
    fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

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
}
