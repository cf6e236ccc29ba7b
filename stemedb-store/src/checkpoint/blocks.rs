//! A checkpoint file as it lies: header, payload, and a checksum for each block of the payload that
//! is checked when the block is first used.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use stemedb_merkle::MappedSetError;

use super::{
    CheckpointFault,
    header::{Covered, FORMAT_VERSION, HEADER_LEN, Header},
};
use stemedb_wal::disk::{Bytes, Disk, DiskFile};

/// How many bytes of the payload one checksum covers: a lookup that is the first in its block pays
/// for all of it.
pub(super) const BLOCK_LEN: usize = 4 << 10;

/// How many blocks are read at once where all of them are checked.
const BLOCKS_AT_ONCE: usize = 16;

/// An open checkpoint file.
#[derive(Debug)]
pub(super) struct BlockFile {
    pub(super) name: Arc<str>,
    pub(super) header: Header,
    /// The checksum of the header, by which a delta names what it stands on.
    pub(super) header_crc: u32,
    /// How long the payload is.
    len: usize,
    bytes: Arc<dyn Bytes>,
    crcs: Vec<u32>,
    /// A bit for each block that has been checked.
    checked: Vec<AtomicU64>,
}

/// A checkpoint file of which the header was read, and nothing else yet.
#[derive(Debug)]
pub(super) struct Opening {
    name: Arc<str>,
    bytes: Arc<dyn Bytes>,
    header: Header,
    header_crc: u32,
}

impl Opening {
    pub(super) fn new(
        disk: &dyn Disk,
        name: &str,
        in_place: bool,
    ) -> Result<Self, CheckpointFault> {
        let bytes = disk.map(name, in_place).map_err(|error| failed(&error))?;
        let mut header = [0; HEADER_LEN];
        let header = header.split_at_mut(bytes.len().min(HEADER_LEN)).0;
        bytes.read_at(header, 0).map_err(|error| failed(&error))?;
        let (header, header_crc) = Header::parse(header)?;
        Ok(Self { name: name.into(), bytes, header, header_crc })
    }

    pub(super) fn covered(&self) -> &Covered {
        &self.header.covered
    }

    /// Checks the list of checksums; the payload not yet.
    pub(super) fn finish(self) -> Result<BlockFile, CheckpointFault> {
        let Self { name, bytes, header, header_crc } = self;
        if header.version != FORMAT_VERSION {
            return Err(CheckpointFault::Version { version: header.version });
        }
        let len = usize::try_from(header.payload_len).map_err(|_| CheckpointFault::Length)?;
        let table_at = HEADER_LEN.checked_add(len).ok_or(CheckpointFault::Length)?;
        let blocks = len.div_ceil(BLOCK_LEN);
        if bytes.len().checked_sub(table_at) != blocks.checked_mul(4) {
            return Err(CheckpointFault::Length);
        }
        let mut table = vec![0; 4 * blocks];
        bytes.read_at(&mut table, table_at).map_err(|error| failed(&error))?;
        if crc32fast::hash(&table) != header.blocks_crc {
            return Err(CheckpointFault::Blocks);
        }
        let crcs = table.as_chunks().0.iter().map(|crc| u32::from_le_bytes(*crc)).collect();
        let checked = (0..blocks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(BlockFile { name, header, header_crc, len, bytes, crcs, checked })
    }
}

fn failed(error: &io::Error) -> CheckpointFault {
    CheckpointFault::Io(error.kind())
}

impl BlockFile {
    /// Opens a file and checks its header and the list of checksums; the payload not yet.
    pub(super) fn open(
        disk: &dyn Disk,
        name: &str,
        in_place: bool,
    ) -> Result<Self, CheckpointFault> {
        Opening::new(disk, name, in_place)?.finish()
    }

    /// Opens a file that was just written: its blocks need no check.
    pub(super) fn open_written(
        disk: &dyn Disk,
        name: &str,
        in_place: bool,
    ) -> Result<Self, CheckpointFault> {
        let mut file = Self::open(disk, name, in_place)?;
        file.checked.iter_mut().for_each(|word| *word.get_mut() = u64::MAX);
        Ok(file)
    }

    /// How long the payload is.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How long the file is.
    pub(super) fn file_len(&self) -> u64 {
        (HEADER_LEN + self.len() + 4 * self.crcs.len()) as u64
    }

    /// Copies a part of the payload, its blocks checked.
    pub(super) fn read(&self, start: usize, buffer: &mut [u8]) -> Result<(), MappedSetError> {
        let end = start.checked_add(buffer.len()).filter(|end| *end <= self.len);
        let end = end.ok_or_else(|| self.inconsistent())?;
        if start < end {
            for block in start / BLOCK_LEN..=(end - 1) / BLOCK_LEN {
                self.check(block)?;
            }
        }
        self.bytes
            .read_at(buffer, HEADER_LEN + start)
            .map_err(|error| self.unreadable(start, &error))
    }

    /// A part of the payload in memory of its own, its blocks checked.
    pub(super) fn read_all(&self, range: &Range<usize>) -> Result<Vec<u8>, MappedSetError> {
        if range.end > self.len {
            return Err(self.inconsistent());
        }
        let mut bytes = vec![0; range.len()];
        self.read(range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Asks for the memory of a part of the payload. What it returns means nothing.
    pub(super) fn touch(&self, start: usize, len: usize) -> u64 {
        self.bytes.touch(HEADER_LEN + start, len)
    }

    #[inline]
    fn check(&self, block: usize) -> Result<(), MappedSetError> {
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
    fn check_now(&self, block: usize) -> Result<(), MappedSetError> {
        let mut bytes = [0; BLOCK_LEN];
        let offset = block * BLOCK_LEN;
        let bytes = bytes.split_at_mut(BLOCK_LEN.min(self.len - offset)).0;
        self.bytes
            .read_at(bytes, HEADER_LEN + offset)
            .map_err(|error| self.unreadable(offset, &error))?;
        if self.crcs.get(block) == Some(&crc32fast::hash(bytes)) {
            Ok(())
        } else {
            let offset = (HEADER_LEN + offset) as u64;
            Err(MappedSetError::Damaged { file: Arc::clone(&self.name), offset })
        }
    }

    /// Checks all blocks, whether they were before or not, as `read` reads them: the same file,
    /// which may have been opened in another way. They need no check any more when they are used.
    /// `progress` is told of the bytes done and says whether to go on.
    pub(super) fn check_all(
        &self,
        read: &Self,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), MappedSetError> {
        let mut bytes = vec![0; BLOCKS_AT_ONCE * BLOCK_LEN];
        for first in (0..read.crcs.len()).step_by(BLOCKS_AT_ONCE) {
            let offset = first * BLOCK_LEN;
            let len = (read.len - offset).min(BLOCKS_AT_ONCE * BLOCK_LEN);
            let (bytes, _) = bytes.split_at_mut(len);
            let is_read = read.bytes.read_at(bytes, HEADER_LEN + offset).is_ok();
            for (block, bytes) in (first..).zip(bytes.chunks(BLOCK_LEN)) {
                if !is_read || read.crcs.get(block) != Some(&crc32fast::hash(bytes)) {
                    // Alone, which says what is wrong and where.
                    read.check_now(block)?;
                }
                if let Some(word) = self.checked.get(block / 64) {
                    word.fetch_or(1 << (block % 64), Ordering::Relaxed);
                }
                if !progress(bytes.len() as u64) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn unreadable(&self, offset: usize, error: &io::Error) -> MappedSetError {
        MappedSetError::Unreadable {
            file: Arc::clone(&self.name),
            offset: (HEADER_LEN + offset) as u64,
            reason: error.to_string().into(),
        }
    }

    pub(super) fn inconsistent(&self) -> MappedSetError {
        MappedSetError::Inconsistent { file: Arc::clone(&self.name) }
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
const WRITE_LEN: usize = 256 * BLOCK_LEN;

impl<'a> BlockWriter<'a> {
    pub(super) fn new(file: &'a dyn DiskFile) -> Self {
        Self { file, buffer: Vec::with_capacity(WRITE_LEN), flushed: 0, crcs: Vec::new() }
    }

    /// How long the payload is so far.
    pub(super) fn len(&self) -> usize {
        self.flushed + self.buffer.len()
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
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
    pub(super) fn align(&mut self, align: usize) -> io::Result<()> {
        let padding = self.len().next_multiple_of(align) - self.len();
        let zeros = &[0; 64];
        let Some(zeros) = zeros.get(..padding) else {
            unreachable!("internal error: aligned to {align}")
        };
        self.write(zeros)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.crcs.extend(self.buffer.chunks(BLOCK_LEN).map(crc32fast::hash));
        self.file.write_at(&self.buffer, (HEADER_LEN + self.flushed) as u64)?;
        self.flushed += self.buffer.len();
        self.buffer.clear();
        Ok(())
    }

    /// Writes the checksums behind the payload; returns its length and the checksum of these.
    pub(super) fn finish(mut self) -> io::Result<(u64, u32)> {
        self.flush()?;
        let table: Vec<u8> = self.crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
        self.file.write_at(&table, (HEADER_LEN + self.flushed) as u64)?;
        Ok((self.flushed as u64, crc32fast::hash(&table)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, load, tests::chain};
    use stemedb_simdisk::FaultyDisk;

    fn unchecked(file: &BlockFile) -> usize {
        let is_checked = |block: usize| {
            file.checked[block / 64].load(Ordering::Relaxed) >> (block % 64) & 1 == 1
        };
        (0..file.crcs.len()).filter(|block| !is_checked(*block)).count()
    }

    fn unchecked_in(checkpoint: &Checkpoint) -> usize {
        checkpoint.files().map(unchecked).sum()
    }

    /// A file that was just written, and one that was checked in whatever way, is used without
    /// another check; damage that a check meets is met again when it is used.
    #[test]
    fn checked_blocks_are_not_checked_again() {
        let disk = FaultyDisk::new(1);
        let (written, _) = chain(&disk);
        assert_eq!(unchecked_in(&written), 0);
        let reload = |disk: &FaultyDisk| load(disk, [1; 16], 0, true).unwrap().checkpoint.unwrap();
        let loaded = reload(&disk);
        let at_first = unchecked_in(&loaded);
        assert!(at_first > 0);
        loaded.check_on(&disk, &mut |_| true).unwrap();
        assert_eq!(unchecked_in(&loaded), 0);
        let loaded = reload(&disk);
        loaded.check(&mut |_| true).unwrap();
        assert_eq!(unchecked_in(&loaded), 0);

        let loaded = reload(&disk);
        let damaged = disk.fork();
        let (base, _) = loaded.file_sizes().swap_remove(0);
        damaged.flip_bit(&base, 8 * (HEADER_LEN as u64 + BLOCK_LEN as u64 + 9)).unwrap();
        loaded.check_on(&damaged, &mut |_| true).unwrap_err();
        assert!(unchecked_in(&loaded) > 0);
    }
}
