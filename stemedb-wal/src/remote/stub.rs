//! The file that takes the place of a dropped segment.

use std::{
    io,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use stemedb_merkle::Hash;

use super::{Bodies, PLACE_LEN_MAX, RemoteError, StubDamaged};
use crate::{
    disk::DiskFile,
    internal::{filled, in_memory, part_mut, rest_of},
    segment::{HEADER_LEN, SEGMENT_LEN_MAX, TRAILER_LEN},
};

/// How long parts are.
const PART_LEN: u64 = super::PART_LEN as u64;

const MAGIC: [u8; 8] = *b"STEMERMT";
const VERSION: u32 = 1;
const FRONT_LEN: usize = 32;
const ROW_LEN: u64 = 8;

/// The bytes of a block, without its checksum and with it.
const BLOCK_LEN: usize = 4092;
const BLOCK_LEN_WITH_SUM: usize = BLOCK_LEN + 4;

/// How much is read from the archive at a time, at least.
const FETCH_LEN: u64 = 256 << 10;

/// The stub of a segment. The gaps are in order and within it.
pub(super) fn encode(
    segment: &[u8],
    gaps: &[Range<usize>],
    place: &str,
    parts: &[Hash],
) -> io::Result<Vec<u8>> {
    let number = |n: usize| u32::try_from(n).map_err(|_| io::Error::from(StubDamaged));
    let mut rows = Vec::with_capacity(gaps.len() * 8 + 8);
    let mut kept = Vec::new();
    let mut at = 0;
    for gap in gaps {
        kept.extend_from_slice(segment.get(at..gap.start).ok_or(StubDamaged)?);
        rows.extend_from_slice(&number(gap.start)?.to_le_bytes());
        rows.extend_from_slice(&number(kept.len())?.to_le_bytes());
        at = gap.end;
    }
    kept.extend_from_slice(segment.get(at..).ok_or(StubDamaged)?);
    rows.extend_from_slice(&number(segment.len())?.to_le_bytes());
    rows.extend_from_slice(&number(kept.len())?.to_le_bytes());

    let mut all = MAGIC.to_vec();
    all.extend_from_slice(&VERSION.to_le_bytes());
    all.extend_from_slice(&number(parts.len())?.to_le_bytes());
    all.extend_from_slice(&(segment.len() as u64).to_le_bytes());
    all.extend_from_slice(&number(gaps.len())?.to_le_bytes());
    all.extend_from_slice(&number(place.len())?.to_le_bytes());
    all.extend_from_slice(place.as_bytes());
    all.extend_from_slice(parts.as_flattened());
    all.extend_from_slice(&rows);
    all.extend_from_slice(&kept);
    let mut blocks = Vec::with_capacity(all.len() + all.len() / 1000 + 8);
    for (number, block) in (0..).zip(all.chunks(BLOCK_LEN)) {
        blocks.extend_from_slice(block);
        blocks.extend_from_slice(&block_sum(number, block).to_le_bytes());
    }
    Ok(blocks)
}

fn block_sum(number: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Reads what is in the blocks of a stub, each checked; keeps the last one.
#[derive(Debug)]
struct Blocks<'a> {
    file: &'a dyn DiskFile,
    number: Option<u64>,
    block: Vec<u8>,
}

impl<'a> Blocks<'a> {
    fn new(file: &'a dyn DiskFile) -> Self {
        Self { file, number: None, block: Vec::new() }
    }

    fn read(&mut self, out: &mut [u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let here = at + done as u64;
            let number = here / BLOCK_LEN as u64;
            self.load(number)?;
            let from = in_memory(here % BLOCK_LEN as u64);
            let found = self.block.get(from..).filter(|found| !found.is_empty());
            done += copy(found.ok_or(StubDamaged)?, rest);
        }
        Ok(())
    }

    fn load(&mut self, number: u64) -> io::Result<()> {
        if self.number == Some(number) {
            return Ok(());
        }
        self.number = None;
        self.block.resize(BLOCK_LEN_WITH_SUM, 0);
        let read = self.file.read_at(&mut self.block, number * BLOCK_LEN_WITH_SUM as u64)?;
        let block = filled(&self.block, read).split_last_chunk::<4>();
        let (bytes, sum) = block.ok_or(StubDamaged)?;
        let sum_of = u32::try_from(number).map(|number| block_sum(number, bytes));
        if sum_of != Ok(u32::from_le_bytes(*sum)) {
            return Err(StubDamaged.into());
        }
        let len = bytes.len();
        self.block.truncate(len);
        self.number = Some(number);
        Ok(())
    }
}

/// A dropped segment. Nothing can be written to it.
#[derive(Debug)]
pub struct Stub {
    file: Arc<dyn DiskFile>,
    bodies: Arc<Bodies>,
    place: String,
    parts: Vec<Hash>,
    len: u64,
    gaps: u64,
    /// Where in the stub the gaps and the bytes that are kept begin, and where it ends.
    rows_at: u64,
    kept_at: u64,
}

impl Stub {
    /// Total: any bytes may be in the file.
    pub(super) fn open(file: Arc<dyn DiskFile>, bodies: &Arc<Bodies>) -> io::Result<Self> {
        let mut blocks = Blocks::new(&*file);
        let mut front = [0; FRONT_LEN];
        blocks.read(&mut front, 0)?;
        let (magic, rest) = front.split_first_chunk::<8>().ok_or(StubDamaged)?;
        let (version, rest) = take(rest)?;
        let (parts_len, rest) = take(rest)?;
        let (len, rest) = rest.split_first_chunk::<8>().ok_or(StubDamaged)?;
        let (gaps, rest) = take(rest)?;
        let (place_len, _) = take(rest)?;
        let len = u64::from_le_bytes(*len);
        if *magic == MAGIC && version != VERSION {
            let text = "this stub is of a newer format: use a newer stemedb";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let fits = *magic == MAGIC
            && (HEADER_LEN + TRAILER_LEN) as u64 <= len
            && len <= SEGMENT_LEN_MAX
            && u64::from(parts_len) == len.div_ceil(PART_LEN)
            && u64::from(gaps) <= len
            && place_len as usize <= PLACE_LEN_MAX;
        if !fits {
            return Err(StubDamaged.into());
        }
        let mut place = vec![0; place_len as usize];
        blocks.read(&mut place, FRONT_LEN as u64)?;
        let place = String::from_utf8(place).map_err(|_| StubDamaged)?;
        let parts_at = FRONT_LEN as u64 + u64::from(place_len);
        let mut parts = vec![[0; 32]; parts_len as usize];
        blocks.read(parts.as_flattened_mut(), parts_at)?;
        let rows_at = parts_at + 32 * u64::from(parts_len);
        let gaps = u64::from(gaps);
        let kept_at = rows_at + ROW_LEN * (gaps + 1);
        let mut last = [0; 8];
        blocks.read(&mut last, rows_at + ROW_LEN * gaps)?;
        let (end, kept) = row_of(last);
        let payload = kept_at + kept;
        let stub_len = payload + 4 * payload.div_ceil(BLOCK_LEN as u64);
        if end != len || stub_len != file.len()? {
            return Err(StubDamaged.into());
        }
        let bodies = Arc::clone(bodies);
        bodies.used.store(true, Ordering::Relaxed);
        Ok(Self { file, bodies, place, parts, len, gaps, rows_at, kept_at })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads at an offset until the buffer is full or the segment ends.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_with(buffer, offset, &|out, offset| self.fetch(out, offset))
    }

    /// As [`read_at`](Self::read_at), with zeros for bodies: needs no network.
    pub(super) fn read_local_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_with(buffer, offset, &|out, _| {
            out.fill(0);
            Ok(())
        })
    }

    /// Takes note that bodies are not what was sent to the archive: they are asked for again when
    /// they are read next. The error to report.
    pub(super) fn invalidate(&self) -> RemoteError {
        self.bodies.forget(&self.parts);
        RemoteError::Damaged { place: self.place.clone() }
    }

    /// Gap `number`: its offset, and how many bytes are kept before it. Behind the last one: the
    /// end.
    fn row(&self, rows: &mut Blocks<'_>, number: u64) -> io::Result<(u64, u64)> {
        let mut row = [0; 8];
        rows.read(&mut row, self.rows_at + ROW_LEN * number)?;
        Ok(row_of(row))
    }

    /// Reads at an offset. What is in a gap comes from `fill`.
    fn read_with(
        &self,
        buffer: &mut [u8],
        offset: u64,
        fill: &dyn Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<usize> {
        // Behind the end there is nothing.
        let left = self.len.saturating_sub(offset);
        let wanted = in_memory(left.min(buffer.len() as u64));
        if wanted == 0 {
            return Ok(0);
        }
        let (mut rows, mut kept) = (Blocks::new(&*self.file), Blocks::new(&*self.file));
        // How many gaps begin at the offset or before it.
        let (mut low, mut high) = (0, self.gaps);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(&mut rows, middle)?.0 <= offset { low = middle + 1 } else { high = middle }
        }
        let mut next = low;
        let mut before = match next.checked_sub(1) {
            Some(last) => self.row(&mut rows, last)?,
            None => (0, 0),
        };
        let mut done = 0;
        while done < wanted {
            if next > self.gaps {
                return Err(StubDamaged.into());
            }
            let here = offset + done as u64;
            let after = self.row(&mut rows, next)?;
            // The gap begins at `before.0`, and then come the bytes kept before the one behind it.
            let run = after.1.checked_sub(before.1).ok_or(StubDamaged)?;
            let run_at = after.0.checked_sub(run).ok_or(StubDamaged)?;
            let (until, is_gap) = if here < run_at { (run_at, true) } else { (after.0, false) };
            // Rows that are not in order end before they begin.
            let run_left = until.saturating_sub(here);
            let count = in_memory(run_left.min((wanted - done) as u64));
            if count > 0 {
                let part = part_mut(buffer, done..done + count);
                if is_gap {
                    fill(part, here)?;
                } else {
                    kept.read(part, self.kept_at + before.1 + (here - run_at))?;
                }
                done += count;
            }
            if offset + done as u64 >= after.0 {
                (before, next) = (after, next + 1);
            }
        }
        Ok(wanted)
    }

    /// Bytes of a gap, from the archive.
    fn fetch(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let here = offset + done as u64;
            let part_at = here / PART_LEN * PART_LEN;
            let part = self.parts.get(in_memory(here / PART_LEN)).ok_or(StubDamaged)?;
            let part_len = (self.len - part_at).min(PART_LEN);
            let start = (here - part_at) / FETCH_LEN * FETCH_LEN;
            let range = start..(start + FETCH_LEN).min(part_len);
            let block = self.bodies.block(&self.place, part, range)?;
            done += copy(rest_of(&block, in_memory(here - part_at - start)), rest);
        }
        Ok(())
    }
}

/// Copies as many bytes as there are, or there is room for; how many.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    to.iter_mut().zip(from).map(|(to, byte)| *to = *byte).count()
}

fn take(bytes: &[u8]) -> Result<(u32, &[u8]), StubDamaged> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(StubDamaged)?;
    Ok((u32::from_le_bytes(*number), rest))
}

fn row_of(row: [u8; 8]) -> (u64, u64) {
    let both = u64::from_le_bytes(row);
    (both & u64::from(u32::MAX), both >> 32)
}
