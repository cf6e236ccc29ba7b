//! The last segment: read to the end of its batches, and what lies behind them judged.

use stemedb_merkle::LogIndex;

use super::survey::Found;
use crate::{
    batch::{self, BatchHeader},
    disk::{Disk, SECTOR_LEN},
    error::{DiskError, OpenError},
    internal::{filled, in_memory, rest_of, rest_of_mut},
    log::{Placed, Watermark},
    position::Position,
    scan::{
        Gap, Reached, Scanner, Stop,
        file::SegmentFile,
        judge::{Judge, Verdict, all_zero},
        offsets_of,
        sectors::is_unreadable,
    },
    segment::{HEADER_LEN, SegmentHeader},
};

/// How much is read at a time.
const STEP_LEN: usize = 1 << 20;

/// Header of a batch that was under way when it was read.
pub type UnfinishedBatch = [u8; batch::HEADER_LEN];

/// What the last segment holds.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) reached: Reached,
    /// What lies behind the last whole batch; never damage.
    pub(crate) rest: Verdict,
    /// The bytes of the file from `base` on, to the end of the batches or behind it.
    pub(crate) bytes: Vec<u8>,
    pub(crate) base: u64,
    /// The offsets of the entries from `base` on.
    pub(crate) offsets: Vec<u32>,
    /// The records from where the replay begins.
    pub(crate) placed: Vec<Placed>,
}

impl Tail {
    /// Whether a watermark lies between two of the batches that were read.
    pub(crate) fn has_boundary(&self, last: &Found, watermark: Watermark) -> bool {
        let header = &last.header;
        let Some(offset) = watermark.position.get().checked_sub(header.first_position) else {
            return true;
        };
        if offset == self.reached.offset {
            return watermark.next_index == self.reached.next_index;
        }
        offset < self.reached.offset
            && BatchHeader::parse(self.bytes_from(offset), header.salt, watermark.position.get())
                .is_some_and(|batch| batch.first_index == watermark.next_index.get())
    }

    /// What lies behind the last whole batch, but for zeros at the end.
    pub(crate) fn torn(&self) -> &[u8] {
        let rest = self.bytes_from(self.reached.offset);
        let zeros = rest.rchunks(4096).take_while(|chunk| all_zero(chunk)).map(<[u8]>::len);
        filled(rest, rest.len() - zeros.sum::<usize>())
    }

    /// What lies in the place of the next batch's header; zeros behind the end of the file.
    pub(crate) fn front(&self) -> UnfinishedBatch {
        let mut front = [0; batch::HEADER_LEN];
        let behind = self.bytes_from(self.reached.offset);
        front.iter_mut().zip(behind).for_each(|(to, byte)| *to = *byte);
        front
    }

    /// How far whole batches were read, in the log.
    pub(crate) fn watermark(&self, header: &SegmentHeader) -> Watermark {
        let position = Position(header.first_position + self.reached.offset);
        Watermark { position, next_index: LogIndex(self.reached.next_index) }
    }

    /// The bytes from an offset of the file on, which is not before `base`.
    pub(crate) fn bytes_from(&self, offset: u64) -> &[u8] {
        // There is nothing at all where the file was cut while it was read.
        self.bytes.get(in_memory(offset - self.base)..).unwrap_or_default()
    }
}

/// Reads on in the last segment, from where the scanner is, between two batches. What follows the
/// last whole batch is judged by what follows, unless it is `unfinished`, which was judged before.
pub(crate) fn read_on(
    file: SegmentFile<'_>,
    last: &Found,
    scanner: Scanner,
    unfinished: Option<UnfinishedBatch>,
) -> Result<Tail, DiskError> {
    let offset = scanner.reached().offset;
    // The judge looks at whole sectors.
    let base = offset - offset % SECTOR_LEN as u64;
    let mut reading = Reading::new(last, base, scanner, 0);
    reading.read_to(file, offset + batch::HEADER_LEN as u64)?;
    if all_zero(&reading.tail.front()) {
        return Ok(reading.tail);
    }
    reading.scan(file)?;
    let (reached, front) = (reading.tail.reached, reading.tail.front());
    reading.tail.rest = if all_zero(&front) {
        Verdict::End
    } else if reached.offset == offset && unfinished == Some(front) {
        Verdict::Torn
    } else {
        reading.read_to(file, last.len)?;
        // The same bytes, as those of a segment that begins here.
        let first_position = last.header.first_position + base;
        let header = SegmentHeader { first_position, ..last.header };
        let reached = Reached { offset: reached.offset - base, ..reached };
        Judge { bytes: &reading.tail.bytes, header: &header, marked: 0 }.judge(&reached, &[])
    };
    Ok(reading.tail)
}

/// Reads the last segment: from the watermark on if all is well there, else whole. `marked` is the
/// highest mark that is known, as a position.
pub(crate) fn read_last(
    disk: &dyn Disk,
    last: &Found,
    marked: u64,
    watermark: Option<Watermark>,
) -> Result<Tail, OpenError> {
    let file = last.file(disk);
    if let Some(watermark) = watermark
        && let Some(base) = watermark.position.get().checked_sub(last.header.first_position)
        && (HEADER_LEN as u64 + 1..last.len).contains(&base)
    {
        let scanner = Scanner::from_middle(&last.header, base, watermark.next_index.get());
        let mut reading = Reading::new(last, base, scanner, 0);
        match reading.run(file) {
            Ok(true) if reading.len == last.len && reading.tail.reached.offset > base => {
                return Ok(reading.tail);
            }
            // Anything out of the ordinary is found out from the whole segment.
            Ok(_) => {}
            Err(error) if is_unreadable(&error.cause) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let replay_from = watermark.map_or(0, |watermark| watermark.position.get());
    let scanner = Scanner::new(&last.header).check_bodies_from(replay_from);
    let mut reading = Reading::new(last, 0, scanner, replay_from);
    reading.tail.bytes = file.capacity(last.len)?;
    let read = reading
        .run(file)
        .and_then(|clean| if clean { Ok(()) } else { reading.read_to(file, last.len) });
    if let Err(error) = read {
        if !is_unreadable(&error.cause) {
            return Err(error.into());
        }
        let sectors = file.read_sectors(last.len)?;
        let damage = file.unreadable(&sectors, &last.header).next();
        return Err(damage.map_or_else(|| error.into(), OpenError::Damaged));
    }
    let Reading { mut tail, gap, .. } = reading;
    let judge = Judge { bytes: &tail.bytes, header: &last.header, marked };
    tail.rest = judge.judge(&tail.reached, &tail.offsets);
    if tail.rest == Verdict::Damaged {
        let damage = file.damage(gap.offset, gap.index, gap.what);
        return Err(OpenError::Damaged(damage));
    }
    Ok(tail)
}

/// The reading of the last segment, and where it stopped.
struct Reading<'a> {
    last: &'a Found,
    scanner: Scanner,
    replay_from: u64,
    /// The length of the file, as far as is known.
    len: u64,
    tail: Tail,
    gap: Gap,
}

impl<'a> Reading<'a> {
    fn new(last: &'a Found, base: u64, scanner: Scanner, replay_from: u64) -> Self {
        let tail = Tail {
            reached: scanner.reached(),
            rest: Verdict::End,
            bytes: Vec::new(),
            base,
            offsets: Vec::new(),
            placed: Vec::new(),
        };
        let gap = scanner.short(base);
        Self { last, scanner, replay_from, len: last.len, tail, gap }
    }

    /// Reads to the first gap, and says whether nothing but zeros follows. These are not kept.
    fn run(&mut self, file: SegmentFile<'_>) -> Result<bool, DiskError> {
        self.scan(file)?;
        Ok(all_zero(self.tail.bytes_from(self.tail.reached.offset)) && self.is_zero_behind(file)?)
    }

    /// Reads to the first gap.
    fn scan(&mut self, file: SegmentFile<'_>) -> Result<(), DiskError> {
        let mut at = self.scanner.reached().offset;
        let mut wanted = STEP_LEN as u64;
        let mut placed = Vec::new();
        self.gap = loop {
            self.read_to(file, at + wanted)?;
            let (read, stop) = self.scanner.scan(self.tail.bytes_from(at), at, &mut placed);
            at += read as u64;
            let whole = self.scanner.take_whole();
            let taken = filled(&placed, whole);
            self.tail.offsets.extend(offsets_of(&self.last.header, taken));
            let from = taken.partition_point(|placed| placed.position.get() < self.replay_from);
            self.tail.placed.extend_from_slice(rest_of(taken, from));
            placed.drain(..whole);
            match stop {
                Stop::More { needed } if at + needed as u64 <= self.len => {
                    wanted = needed.max(STEP_LEN) as u64;
                }
                Stop::More { .. } => break self.scanner.short(at),
                Stop::Gap(gap) => break gap,
            }
        };
        self.tail.reached = self.scanner.reached();
        Ok(())
    }

    /// The offset in the file up to which it was read.
    fn end(&self) -> u64 {
        self.tail.base + self.tail.bytes.len() as u64
    }

    /// Reads on to an offset, or to the end of the file.
    fn read_to(&mut self, file: SegmentFile<'_>, offset: u64) -> Result<(), DiskError> {
        let (end, to) = (self.end(), offset.min(self.len));
        let Some(len) = to.checked_sub(end).filter(|len| *len > 0) else { return Ok(()) };
        let start = self.tail.bytes.len();
        self.tail.bytes.resize(start + in_memory(len), 0);
        let read = file.read_at(rest_of_mut(&mut self.tail.bytes, start), end)?;
        self.tail.bytes.truncate(start + read);
        if (read as u64) < len {
            self.len = self.end();
        }
        Ok(())
    }

    fn is_zero_behind(&mut self, file: SegmentFile<'_>) -> Result<bool, DiskError> {
        let mut buffer = vec![0; STEP_LEN / 4];
        let mut offset = self.end();
        while offset < self.len {
            let read = file.read_at(&mut buffer, offset)?;
            if read == 0 {
                self.len = offset;
            }
            if !all_zero(filled(&buffer, read)) {
                return Ok(false);
            }
            offset += read as u64;
        }
        Ok(true)
    }
}
