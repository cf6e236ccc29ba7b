//! Reads compressed segments as if they were plain: readers of the log know of no blocks.
//!
//! Damage is where it would be in a plain segment. Where the payload of a block is not what was
//! written, its bodies are, and each fails its own checksum: salvage makes holes of them. Damage to
//! the rest is that of a header, a head or a footer.

mod codec;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    disk::{DiskFile, is_unreadable},
    internal::{in_memory, part_mut, rest_of},
    raw::compressed::{BLOCK_HEAD_LEN, BlockHead, CompressedHeader, LOST, Method, heads_sum},
    segment::{HEADER_LEN, HeaderError, SegmentHeader},
};

/// Whether sealed segments are compressed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// They stay as they are. Those that are compressed are read in any case.
    #[default]
    None,
    /// By zstd, in blocks of at most 64 KiB.
    #[cfg(feature = "zstd")]
    Zstd {
        /// From 1, which is fast, to 22, which is slow; the usual one is
        /// [`Compression::ZSTD_LEVEL`].
        level: i32,
    },
}

#[cfg(feature = "zstd")]
impl Compression {
    /// The usual level of zstd.
    pub const ZSTD_LEVEL: i32 = 3;

    /// Zstd at its usual level.
    pub const ZSTD: Self = Self::Zstd { level: Self::ZSTD_LEVEL };
}

/// A compressed segment, and this build cannot read it: it is not damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the segment is compressed, and this build reads no compressed segments: use a build with the \
     feature `zstd`"
)]
pub struct CannotDecompress;

/// A compressed segment, to be read as what it was before. Nothing can be written to it.
#[derive(Debug)]
pub struct CompressedSegment {
    file: Arc<dyn DiskFile>,
    header: CompressedHeader,
    /// Whether the header at the front and the heads at the end are what was written.
    is_whole: bool,
    blocks: Vec<Block>,
    /// The block that was read last, by its number.
    last: Mutex<Option<(usize, Arc<[u8]>)>>,
}

/// A block, and where its head is in the file.
#[derive(Clone, Copy, Debug)]
struct Block {
    head: BlockHead,
    at: u64,
}

/// What becomes of a read that the disk refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// It fails.
    Fails,
    /// It is taken for damage.
    IsDamage,
}

/// How many plain bytes a segment has that is compressed; `None` if it is not.
pub(crate) fn plain_len(file: &dyn DiskFile) -> io::Result<Option<u64>> {
    Ok(find_header(file)?.map(|(header, _)| u64::from(header.plain_len)))
}

/// The header of a segment that is compressed, and whether it is whole at the front: else it was
/// found at the end. `None` of one that is not.
fn find_header(file: &dyn DiskFile) -> io::Result<Option<(CompressedHeader, bool)>> {
    let front = read_header(file, 0)?;
    if let Some(header) = CompressedHeader::parse(&front) {
        return Ok(Some((header, true)));
    }
    if SegmentHeader::parse(&front) != Err(HeaderError::Damaged) {
        return Ok(None);
    }
    let len = file.len()?;
    let Some(at) = len.checked_sub(HEADER_LEN as u64) else { return Ok(None) };
    let header = CompressedHeader::parse(&read_header(file, at)?);
    Ok(header.filter(|header| u64::from(header.file_len) == len).map(|header| (header, false)))
}

/// The bytes of a header, or zeros where the disk refuses to read them: who needs them is told.
fn read_header(file: &dyn DiskFile, at: u64) -> io::Result<[u8; HEADER_LEN]> {
    let mut bytes = [0; HEADER_LEN];
    match file.read_at(&mut bytes, at) {
        Err(error) if is_unreadable(&error) => Ok([0; HEADER_LEN]),
        read => read.map(|_| bytes),
    }
}

/// The heads of blocks, from the first one on, as long as each follows from the one before.
struct Chain<'a> {
    header: &'a CompressedHeader,
    blocks: Vec<Block>,
    at: u64,
    offset: u64,
}

impl<'a> Chain<'a> {
    fn new(header: &'a CompressedHeader) -> Self {
        let begin = HEADER_LEN as u64;
        Self { header, blocks: Vec::new(), at: begin, offset: begin }
    }

    /// Takes in the next head. False if it is not what was written, or does not follow.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let head = BlockHead::parse(bytes, &self.header.segment).filter(|head| {
            u64::from(head.offset) == self.offset
                && head.end() <= u64::from(self.header.batches_end)
                && self.at + head.stored_len() <= self.header.footer_at()
        });
        let Some(head) = head else { return false };
        self.blocks.push(Block { head, at: self.at });
        self.at += head.stored_len();
        self.offset = head.end();
        true
    }

    fn is_complete(&self) -> bool {
        let header = self.header;
        (self.offset, self.at) == (u64::from(header.batches_end), header.footer_at())
    }
}

impl CompressedSegment {
    /// Opens a segment, if it is compressed. Total: any bytes may be in the file.
    ///
    /// # Errors
    ///
    /// [`CannotDecompress`], as the inner error, without the feature `zstd`; and if the disk fails.
    pub(crate) fn open(file: &Arc<dyn DiskFile>) -> io::Result<Option<Self>> {
        let Some((header, at_front)) = find_header(&**file)? else { return Ok(None) };
        if !codec::IS_BUILT_IN {
            return Err(io::Error::new(io::ErrorKind::Unsupported, CannotDecompress));
        }
        let listed = listed_blocks(&**file, &header)?;
        let is_whole = at_front && listed.is_some();
        let blocks = match listed {
            Some(blocks) => blocks,
            None => found_blocks(&**file, &header)?,
        };
        let (file, last) = (Arc::clone(file), Mutex::default());
        Ok(Some(Self { file, header, is_whole, blocks, last }))
    }

    /// How many plain bytes there are.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.header.plain_len)
    }

    /// The file as it is.
    pub fn stored(&self) -> &Arc<dyn DiskFile> {
        &self.file
    }

    /// Reads plain bytes at an offset until the buffer is full or the segment ends.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(buffer, offset, Refused::Fails)
    }

    /// As [`read_at`](Self::read_at), with what of a block cannot be read taken for damage: only
    /// that is lost then, and not the sectors around it.
    pub(crate) fn read_salvaged_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(buffer, offset, Refused::IsDamage)
    }

    /// Whether all is what was written that is there twice: the header, the heads of the blocks.
    /// The rest tells by its checksums when it is read.
    pub(crate) fn is_intact(&self) -> io::Result<bool> {
        let Self { file, header, .. } = self;
        let len = u64::from(header.file_len);
        if !self.is_whole || file.len()? != len {
            return Ok(false);
        }
        let at_end = read_header(&**file, len - HEADER_LEN as u64)?;
        if CompressedHeader::parse(&at_end) != Some(*header) {
            return Ok(false);
        }
        for Block { head, at } in &self.blocks {
            let mut bytes = [0; BLOCK_HEAD_LEN];
            match file.read_at(&mut bytes, *at) {
                Err(error) if is_unreadable(&error) => return Ok(false),
                read => read?,
            };
            if bytes != head.encode(&header.segment) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read(&self, buffer: &mut [u8], offset: u64, refused: Refused) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(at) = offset.checked_add(done as u64) else { break };
            let read = self.read_part(rest, at, refused)?;
            if read == 0 {
                break;
            }
            done += read;
        }
        Ok(done)
    }

    /// Reads the first of the bytes wanted, as many as lie together. None at the end.
    fn read_part(&self, buffer: &mut [u8], at: u64, refused: Refused) -> io::Result<usize> {
        let batches_end = u64::from(self.header.batches_end);
        if at < HEADER_LEN as u64 {
            let header = self.header.segment.encode();
            return Ok(copy(rest_of(&header, in_memory(at)), buffer));
        }
        if let Some(behind) = at.checked_sub(batches_end) {
            let left = self.len().saturating_sub(at).min(buffer.len() as u64);
            let wanted = part_mut(buffer, 0..in_memory(left));
            return self.file.read_at(wanted, self.header.footer_at() + behind);
        }
        let behind = self.blocks.partition_point(|block| u64::from(block.head.offset) <= at);
        let number = behind.checked_sub(1);
        let block = number.and_then(|number| Some((number, self.blocks.get(number)?)));
        if let Some((number, block)) = block.filter(|(_, block)| at < block.head.end()) {
            let bytes = self.block(number, block, refused)?;
            return Ok(copy(rest_of(&bytes, in_memory(at - u64::from(block.head.offset))), buffer));
        }
        // Neither of its two heads is left, so nobody knows where it is.
        let left = in_memory((batches_end - at).min(buffer.len() as u64));
        part_mut(buffer, 0..left).fill(LOST);
        Ok(left)
    }

    /// The plain bytes of a block.
    fn block(&self, number: usize, block: &Block, refused: Refused) -> io::Result<Arc<[u8]>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, bytes)) = last.filter(|(last, _)| *last == number) {
            return Ok(bytes);
        }
        match self.load(block) {
            Ok(bytes) => {
                let bytes: Arc<[u8]> = bytes.into();
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                *last = Some((number, Arc::clone(&bytes)));
                Ok(bytes)
            }
            Err(error) if refused == Refused::IsDamage && is_unreadable(&error) => {
                self.load_frames(block).map(Into::into)
            }
            Err(error) => Err(error),
        }
    }

    fn load(&self, block: &Block) -> io::Result<Vec<u8>> {
        let (head, header) = (&block.head, &self.header.segment);
        let frames_len = head.frames_len as usize;
        // What is behind the end of a file that was cut stays zeros, and fails its checksum.
        let mut stored = vec![0; frames_len + head.payload_len as usize];
        self.file.read_at(&mut stored, block.at + BLOCK_HEAD_LEN as u64)?;
        let (frames, payload) = stored.split_at(frames_len);
        let unpacked = match head.method {
            _ if !head.covers(payload, header) => None,
            Method::Stored => Some(payload.to_vec()),
            Method::Zstd => codec::inflate(payload, head.unpacked_len())?,
        };
        let plain = unpacked.and_then(|unpacked| head.join(frames, &unpacked));
        Ok(plain.unwrap_or_else(|| head.without_bodies(frames, header)))
    }

    /// The plain bytes of a block of which the disk refuses to read a part.
    fn load_frames(&self, block: &Block) -> io::Result<Vec<u8>> {
        let mut frames = vec![0; block.head.frames_len as usize];
        match self.file.read_at(&mut frames, block.at + BLOCK_HEAD_LEN as u64) {
            Err(error) if is_unreadable(&error) => frames.fill(LOST),
            read => drop(read?),
        }
        Ok(block.head.without_bodies(&frames, &self.header.segment))
    }
}

/// The blocks by the heads at the end of the file, if these are what was written.
fn listed_blocks(file: &dyn DiskFile, header: &CompressedHeader) -> io::Result<Option<Vec<Block>>> {
    let (at, len) = (header.heads_at(), header.heads_len());
    if file.len()? < at + len {
        return Ok(None);
    }
    let mut heads = vec![0; in_memory(len)];
    match file.read_at(&mut heads, at) {
        Err(error) if is_unreadable(&error) => return Ok(None),
        read => read?,
    };
    if heads_sum(&heads) != header.heads_sum {
        return Ok(None);
    }
    let mut chain = Chain::new(header);
    let all = heads.chunks(BLOCK_HEAD_LEN).all(|head| chain.take(head));
    Ok((all && chain.is_complete()).then_some(chain.blocks))
}

/// The blocks by the heads before them, up to the first that is damaged.
fn found_blocks(file: &dyn DiskFile, header: &CompressedHeader) -> io::Result<Vec<Block>> {
    let mut chain = Chain::new(header);
    for _ in 0..header.blocks {
        let mut head = [0; BLOCK_HEAD_LEN];
        match file.read_at(&mut head, chain.at) {
            Err(error) if is_unreadable(&error) => break,
            read => read?,
        };
        if !chain.take(&head) {
            break;
        }
    }
    Ok(chain.blocks)
}

/// Copies as many bytes as there are and there is room for.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let len = from.len().min(to.len());
    part_mut(to, 0..len).copy_from_slice(from.get(..len).unwrap_or_default());
    len
}
