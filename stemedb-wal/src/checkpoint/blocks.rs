//! A checkpoint file as it lies: header, payload, and a checksum for each block of the payload that
//! is checked when the block is first used.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use stemedb_merkle::ArchiveError;

use super::{
    CheckpointFault,
    header::{HEADER_LEN, Header},
};
use crate::disk::{Bytes, Disk, DiskFile};

/// How many bytes of the payload one checksum covers.
pub(super) const BLOCK_LEN: usize = 64 << 10;

/// An open checkpoint file.
#[derive(Debug)]
pub(super) struct BlockFile {
    pub(super) name: Arc<str>,
    pub(super) header: Header,
    /// The checksum of the header, by which a delta names what it stands on.
    pub(super) header_crc: u32,
    bytes: Arc<dyn Bytes>,
    crcs: Vec<u32>,
    /// A bit for each block that has been checked.
    checked: Vec<AtomicU64>,
}

impl BlockFile {
    /// Opens a file and checks its header and the list of checksums; the payload not yet.
    pub(super) fn open(
        disk: &dyn Disk,
        name: &str,
        in_place: bool,
    ) -> Result<Self, CheckpointFault> {
        let bytes = disk.map(name, in_place).map_err(|error| CheckpointFault::Io(error.kind()))?;
        let (header, header_crc) = Header::parse(bytes.bytes())?;
        let payload_len =
            usize::try_from(header.payload_len).map_err(|_| CheckpointFault::Length)?;
        let table = bytes
            .bytes()
            .get(HEADER_LEN..)
            .and_then(|rest| rest.get(payload_len..))
            .ok_or(CheckpointFault::Length)?;
        let blocks = payload_len.div_ceil(BLOCK_LEN);
        let (crcs, surplus) = table.as_chunks::<4>();
        if crcs.len() != blocks || !surplus.is_empty() {
            return Err(CheckpointFault::Length);
        }
        if crc32fast::hash(table) != header.blocks_crc {
            return Err(CheckpointFault::Blocks);
        }
        let crcs = crcs.iter().map(|crc| u32::from_le_bytes(*crc)).collect();
        let checked = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { name: name.into(), header, header_crc, bytes, crcs, checked })
    }

    /// The whole payload, unchecked.
    pub(super) fn payload(&self) -> &[u8] {
        let payload = self.bytes.bytes().get(HEADER_LEN..).unwrap_or_default();
        payload.get(..self.len()).unwrap_or_default()
    }

    /// How long the payload is.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.header.payload_len).unwrap_or(0)
    }

    /// How long the file is.
    pub(super) fn file_len(&self) -> u64 {
        (HEADER_LEN + self.len() + 4 * self.crcs.len()) as u64
    }

    /// A part of the payload, its blocks checked.
    pub(super) fn slice(&self, range: Range<usize>) -> Result<&[u8], ArchiveError> {
        let part = self.payload().get(range.clone()).ok_or_else(|| self.inconsistent())?;
        if !range.is_empty() {
            for block in range.start / BLOCK_LEN..=(range.end - 1) / BLOCK_LEN {
                self.check(block)?;
            }
        }
        Ok(part)
    }

    #[inline]
    fn check(&self, block: usize) -> Result<(), ArchiveError> {
        let mask = 1 << (block % 64);
        let word = self.checked.get(block / 64).ok_or_else(|| self.inconsistent())?;
        // Relaxed: the bit says only that some thread has read these bytes, which never change.
        if word.load(Ordering::Relaxed) & mask != 0 {
            return Ok(());
        }
        self.check_now(block)?;
        word.fetch_or(mask, Ordering::Relaxed);
        Ok(())
    }

    #[cold]
    fn check_now(&self, block: usize) -> Result<(), ArchiveError> {
        let offset = block * BLOCK_LEN;
        let end = (offset + BLOCK_LEN).min(self.len());
        let bytes = self.payload().get(offset..end).ok_or_else(|| self.inconsistent())?;
        if self.crcs.get(block) == Some(&crc32fast::hash(bytes)) {
            Ok(())
        } else {
            let offset = (HEADER_LEN + offset) as u64;
            Err(ArchiveError::Damaged { file: Arc::clone(&self.name), offset })
        }
    }

    /// Checks all blocks, whether they were before or not. `progress` is told of the bytes done and
    /// says whether to go on.
    pub(super) fn check_all(
        &self,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), ArchiveError> {
        for block in 0..self.crcs.len() {
            self.check_now(block)?;
            if !progress(BLOCK_LEN.min(self.len() - block * BLOCK_LEN) as u64) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn inconsistent(&self) -> ArchiveError {
        ArchiveError::Inconsistent { file: Arc::clone(&self.name) }
    }
}

/// Writes the payload of a checkpoint file, block by block.
pub(super) struct BlockWriter<'a> {
    file: &'a dyn DiskFile,
    buffer: Vec<u8>,
    /// How much of the payload has gone to the file.
    flushed: usize,
    crcs: Vec<u32>,
}

/// How much is written at once: a whole number of blocks.
const WRITE_LEN: usize = 16 * BLOCK_LEN;

impl<'a> BlockWriter<'a> {
    pub(super) fn new(file: &'a dyn DiskFile) -> Self {
        Self { file, buffer: Vec::with_capacity(WRITE_LEN), flushed: 0, crcs: Vec::new() }
    }

    /// How long the payload is so far.
    pub(super) fn len(&self) -> usize {
        self.flushed + self.buffer.len()
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let room = (WRITE_LEN - self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == WRITE_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Fills up with zeros to a multiple of `align`.
    pub(super) fn align(&mut self, align: usize) -> std::io::Result<()> {
        let padding = self.len().next_multiple_of(align) - self.len();
        self.write([0; 16].get(..padding).unwrap_or_default())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.crcs.extend(self.buffer.chunks(BLOCK_LEN).map(crc32fast::hash));
        self.file.write_at(&self.buffer, (HEADER_LEN + self.flushed) as u64)?;
        self.flushed += self.buffer.len();
        self.buffer.clear();
        Ok(())
    }

    /// Writes the checksums behind the payload; returns its length and the checksum of these.
    pub(super) fn finish(mut self) -> std::io::Result<(u64, u32)> {
        self.flush()?;
        let table: Vec<u8> = self.crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
        self.file.write_at(&table, (HEADER_LEN + self.flushed) as u64)?;
        Ok((self.flushed as u64, crc32fast::hash(&table)))
    }
}
