//! Reads sealed segments from front to back and hands their records on.

use std::{
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{
    Replayed,
    sectors::{is_unreadable, read_sectors},
    survey::{Sealed, read_at, read_kept, read_whole},
    walk::{Stop, Walker},
};
use crate::{
    disk::Disk,
    error::{Action, Damage, DamageKind, DiskError, OpenError},
    log::{Watermark, segments::Segment},
    segment::HEADER_LEN,
};

/// How much is read at a time: it stays in the processor's cache until it is checked.
const CHUNK_LEN: usize = 1 << 20;

/// Room in front of a chunk for the beginning of a record that the chunk before ended in.
const HEADROOM_LEN: usize = 64 << 10;

/// How many chunks are read ahead.
const CHUNKS_AHEAD: usize = 4;

/// From so many bytes on, a second thread reads ahead.
const PARALLEL_LEN_MIN: u64 = 16 << 20;

/// A part of a segment's file, with [`HEADROOM_LEN`] bytes of room in front.
struct Chunk {
    segment: usize,
    buffer: Vec<u8>,
    result: Result<(), DiskError>,
}

/// Replays what lies behind the watermark in sealed segments. Returns the number of bytes read.
pub(crate) fn replay_sealed(
    disk: &dyn Disk,
    sealed: &[Sealed],
    watermark: Option<Watermark>,
    parallel: bool,
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<u64, OpenError> {
    let mut readings = Vec::new();
    for sealed in sealed {
        readings.extend(Reading::new(disk, sealed, watermark)?);
    }
    let total: u64 = readings.iter().map(Reading::len).sum();
    let parallel = parallel && total >= PARALLEL_LEN_MIN;
    if !parallel || !read_ahead(disk, &mut readings, replay)? {
        let mut buffer = Vec::new();
        let pieces = pieces(&readings);
        for (segment, range) in pieces {
            let segment_read = readings.get(segment).map(|reading| Arc::clone(&reading.segment));
            let Some(read) = segment_read else { continue };
            let chunk = read_chunk(disk, &read, segment, range, std::mem::take(&mut buffer));
            buffer = take_chunk(disk, &mut readings, chunk, replay)?;
        }
    }
    for reading in &readings {
        reading.finish(disk)?;
    }
    Ok(total)
}

/// The reading of one segment.
struct Reading {
    segment: Arc<Segment>,
    range: Range<u64>,
    walker: Walker,
    /// What the last chunk ended in, and where it begins.
    carry: Vec<u8>,
    at: u64,
    /// Whether the bodies are only in an archive: then they are zeros here.
    remote: bool,
}

impl Reading {
    /// What of a segment lies behind the watermark; `None` if nothing does.
    fn new(
        disk: &dyn Disk,
        sealed: &Sealed,
        watermark: Option<Watermark>,
    ) -> Result<Option<Self>, OpenError> {
        let segment = Arc::clone(&sealed.segment);
        let header = segment.header;
        let start = watermark
            .map_or(0, |watermark| watermark.position.saturating_sub(header.first_position));
        let (start, walker) = match watermark {
            Some(watermark) if start > HEADER_LEN as u64 => {
                // Up to the end of the footer, the watermark is in this segment.
                if start >= sealed.batches_end {
                    return Ok(None);
                }
                (start, Walker::from_middle(&header, start, watermark.next_index))
            }
            _ => (HEADER_LEN as u64, Walker::new(&header)),
        };
        let range = start..sealed.batches_end;
        if start > HEADER_LEN as u64 {
            check_boundary(disk, sealed, start, watermark)?;
        }
        let remote = segment.file.is_remote();
        let walker = if remote { walker.check_bodies_from(u64::MAX) } else { walker };
        Ok(Some(Self { segment, range, walker, carry: Vec::new(), at: start, remote }))
    }

    fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// Checks what was read next, and hands it on.
    fn take(
        &mut self,
        disk: &dyn Disk,
        chunk: &mut [u8],
        replay: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(), OpenError> {
        let carried = self.carry.len();
        let bytes = if let Some(start) = HEADROOM_LEN.checked_sub(carried) {
            let room = chunk.get_mut(start..HEADROOM_LEN).unwrap_or_default();
            room.copy_from_slice(&self.carry);
            chunk.get(start..).unwrap_or_default()
        } else {
            self.carry.extend_from_slice(chunk.get(HEADROOM_LEN..).unwrap_or_default());
            self.carry.as_slice()
        };
        let mut placed = Vec::new();
        let (read, stop) = self.walker.walk(bytes, self.at, &mut placed);
        if let Stop::Bad { offset, what } = stop {
            return Err(self.damaged(disk, offset, what));
        }
        if !placed.is_empty() {
            let first_position = self.segment.header.first_position + self.at;
            replay(Replayed { placed: &placed, bytes, first_position, remote: self.remote });
        }
        self.at += read as u64;
        let rest = bytes.get(read..).unwrap_or_default().to_vec();
        self.carry = rest;
        Ok(())
    }

    fn finish(&self, disk: &dyn Disk) -> Result<(), OpenError> {
        if self.walker.reached().offset == self.range.end {
            return Ok(());
        }
        Err(self.damaged(disk, self.at, DamageKind::Short))
    }

    /// Where the disk cannot read the segment.
    fn unreadable(&self, disk: &dyn Disk, error: DiskError) -> OpenError {
        let (name, file) = (&self.segment.name, &*self.segment.file);
        match read_sectors(disk, name, file, self.range.end) {
            Ok(sectors) => match sectors.damage(disk, name, &self.segment.header).next() {
                Some(damage) => OpenError::Damaged(damage),
                None => error.into(),
            },
            Err(error) => error.into(),
        }
    }

    fn damaged(&self, disk: &dyn Disk, offset: u64, what: DamageKind) -> OpenError {
        let index = self.walker.reached().next_index;
        OpenError::Damaged(Damage { path: disk.path(&self.segment.name), offset, index, what })
    }
}

/// Tells a watermark that lies between two batches from one that does not, and that from damage.
fn check_boundary(
    disk: &dyn Disk,
    sealed: &Sealed,
    start: u64,
    watermark: Option<Watermark>,
) -> Result<(), OpenError> {
    let Some(watermark) = watermark else { return Ok(()) };
    let segment = &*sealed.segment;
    let mut bytes = [0; crate::batch::HEADER_LEN];
    let read = read_at(disk, &segment.name, &*segment.file, &mut bytes, start)?;
    let header = crate::batch::BatchHeader::parse(
        bytes.get(..read).unwrap_or_default(),
        segment.salt(),
        watermark.position,
    );
    if header.is_some_and(|header| header.first_index == watermark.next_index) {
        return Ok(());
    }
    // If all batches up to here are whole, it is the watermark that is wrong.
    let remote = segment.file.is_remote();
    let bytes = if remote {
        read_kept(disk, &segment.name, &*segment.file, sealed.batches_end)?
            .map_err(OpenError::Damaged)?
    } else {
        read_whole(disk, &segment.name, &*segment.file, sealed.batches_end)?
    };
    let bodies_from = if remote { u64::MAX } else { 0 };
    let mut walker = Walker::new(&segment.header).check_bodies_from(bodies_from);
    let batches = bytes.get(HEADER_LEN..).unwrap_or_default();
    let (_, stop) = walker.walk(batches, HEADER_LEN as u64, &mut Vec::new());
    match stop {
        Stop::Bad { offset, what } => {
            let (path, index) = (disk.path(&segment.name), walker.reached().next_index);
            Err(OpenError::Damaged(Damage { path, offset, index, what }))
        }
        Stop::More { .. } => Err(OpenError::Watermark {
            position: watermark.position,
            index: watermark.next_index,
            end: segment.header.first_position + sealed.batches_end,
        }),
    }
}

/// Which parts of which readings are read, in order.
fn pieces(readings: &[Reading]) -> Vec<(usize, Range<u64>)> {
    let mut pieces = Vec::new();
    for (segment, reading) in readings.iter().enumerate() {
        let Range { mut start, end } = reading.range.clone();
        while start < end {
            let next = end.min(start.saturating_add(CHUNK_LEN as u64));
            pieces.push((segment, start..next));
            start = next;
        }
    }
    pieces
}

fn read_chunk(
    disk: &dyn Disk,
    segment: &Segment,
    number: usize,
    range: Range<u64>,
    mut buffer: Vec<u8>,
) -> Chunk {
    let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    // A buffer is used again, so that its memory is zeroed once only.
    buffer.resize(HEADROOM_LEN + len, 0);
    let room = buffer.get_mut(HEADROOM_LEN..).unwrap_or_default();
    let offset = range.start;
    let result = match segment.file.read_local_at(room, offset) {
        Ok(read) => {
            buffer.truncate(HEADROOM_LEN + read);
            Ok(())
        }
        Err(source) => {
            let action = Action::Read { len: len as u64, offset };
            Err(DiskError::new(action, disk.path(&segment.name), source))
        }
    };
    Chunk { segment: number, buffer, result }
}

/// Checks a chunk and hands its records on; gives its buffer back.
fn take_chunk(
    disk: &dyn Disk,
    readings: &mut [Reading],
    chunk: Chunk,
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<Vec<u8>, OpenError> {
    if let Err(error) = chunk.result {
        return Err(match readings.get(chunk.segment) {
            Some(reading) if is_unreadable(&error.cause) => reading.unreadable(disk, error),
            _ => error.into(),
        });
    }
    let mut buffer = chunk.buffer;
    if let Some(reading) = readings.get_mut(chunk.segment) {
        reading.take(disk, &mut buffer, replay)?;
    }
    Ok(buffer)
}

/// As the loop in [`replay_sealed`], with a second thread that reads; false, with nothing done, if
/// the system has no thread for it.
fn read_ahead(
    disk: &dyn Disk,
    readings: &mut [Reading],
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<bool, OpenError> {
    let pieces = pieces(readings);
    let segments: Vec<Arc<Segment>> =
        readings.iter().map(|reading| Arc::clone(&reading.segment)).collect();
    let (chunks, inbox): (SyncSender<Chunk>, Receiver<Chunk>) = sync_channel(CHUNKS_AHEAD);
    let (back, empties): (SyncSender<Vec<u8>>, Receiver<Vec<u8>>) = sync_channel(CHUNKS_AHEAD + 2);
    thread::scope(|scope| {
        let read = move || {
            for (number, range) in pieces {
                let Some(segment) = segments.get(number) else { break };
                let buffer = empties.try_recv().unwrap_or_default();
                let chunk = read_chunk(disk, segment, number, range, buffer);
                let failed = chunk.result.is_err();
                // The other side went away after an error: there is no more to do.
                if chunks.send(chunk).is_err() || failed {
                    break;
                }
            }
        };
        if thread::Builder::new().spawn_scoped(scope, read).is_err() {
            return Ok(false);
        }
        for chunk in inbox {
            let buffer = take_chunk(disk, readings, chunk, replay)?;
            // Without the reader nobody needs it.
            let _ = back.try_send(buffer);
        }
        Ok(true)
    })
}
