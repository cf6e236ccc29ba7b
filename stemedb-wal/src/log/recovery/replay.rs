//! Reads sealed segments from front to back and hands their records on.

use std::{
    ops::Range,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{Replayed, survey::Sealed};
use crate::{
    batch::{self, BatchHeader},
    disk::Disk,
    error::{Action, DamageKind, DiskError, OpenError},
    internal::{filled, in_memory, rest_of_mut},
    log::{Watermark, segments::Segment},
    position::Position,
    scan::{
        Gap, Scanner,
        pass::{CHUNK_LEN, HEADROOM_LEN, Pass},
        sectors::is_unreadable,
    },
    segment::HEADER_LEN,
};

/// How many chunks are read ahead.
const CHUNKS_AHEAD: usize = 4;

/// From so many bytes on, a second thread reads ahead.
const PARALLEL_LEN_MIN: u64 = 16 << 20;

/// A part of a segment's file, with [`HEADROOM_LEN`] bytes of room in front.
struct Chunk {
    reading: usize,
    buffer: Vec<u8>,
    result: Result<(), DiskError>,
}

/// Replays what lies behind the watermark in sealed segments.
pub(crate) fn replay_sealed(
    disk: &dyn Disk,
    sealed: &[Sealed],
    watermark: Option<Watermark>,
    parallel: bool,
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<(), OpenError> {
    let mut readings = Vec::new();
    for sealed in sealed {
        readings.extend(Reading::new(disk, sealed, watermark)?);
    }
    let pieces = pieces(&readings);
    let total: u64 = pieces.iter().map(|piece| piece.range.end - piece.range.start).sum();
    let parallel = parallel && total >= PARALLEL_LEN_MIN;
    if !parallel || !read_ahead(disk, &mut readings, &pieces, replay)? {
        let mut buffer = Vec::new();
        for piece in &pieces {
            let chunk = piece.read(disk, std::mem::take(&mut buffer));
            buffer = take_chunk(disk, &mut readings, chunk, replay)?;
        }
    }
    readings.iter().try_for_each(|reading| reading.finish(disk))
}

/// The reading of one segment.
struct Reading {
    segment: Arc<Segment>,
    range: Range<u64>,
    pass: Pass,
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
        let front = Position(header.first_position + HEADER_LEN as u64);
        let inside = |mark: &Watermark| mark.position > front;
        let scanner = match watermark.filter(inside) {
            None => Scanner::new(&header),
            Some(watermark) => {
                let start = watermark.position - Position(header.first_position);
                // Up to the end of the footer, the watermark is in this segment.
                if start >= sealed.batches_end {
                    return Ok(None);
                }
                check_boundary(disk, sealed, start, watermark)?;
                Scanner::from_middle(&header, start, watermark.next_index.get())
            }
        };
        let range = scanner.reached().offset..sealed.batches_end;
        let remote = segment.on(disk).is_remote()?;
        let scanner = if remote { scanner.check_bodies_from(u64::MAX) } else { scanner };
        Ok(Some(Self { segment, range, pass: Pass::new(scanner), remote }))
    }

    /// Checks what was read next, and hands it on.
    fn take(
        &mut self,
        disk: &dyn Disk,
        chunk: &mut [u8],
        replay: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(), OpenError> {
        let (first_position, remote) = (self.segment.header.first_position, self.remote);
        let fed = self.pass.feed(chunk, &mut |fed| {
            let first_position = first_position + fed.offset;
            replay(Replayed { placed: fed.placed, bytes: fed.bytes, first_position, remote });
            Ok(())
        });
        fed.map_err(|gap| self.damaged(disk, gap))
    }

    fn finish(&self, disk: &dyn Disk) -> Result<(), OpenError> {
        let reached = self.pass.reached();
        if reached.offset == self.range.end {
            return Ok(());
        }
        let (offset, index) = (self.pass.at(), reached.next_index);
        Err(self.damaged(disk, Gap { offset, index, what: DamageKind::Short }))
    }

    /// Where the disk cannot read the segment.
    fn unreadable(&self, disk: &dyn Disk, error: DiskError) -> OpenError {
        let file = self.segment.on(disk);
        match file.read_sectors(self.range.end) {
            Ok(sectors) => match file.unreadable(&sectors, &self.segment.header).next() {
                Some(damage) => OpenError::Damaged(damage),
                None => error.into(),
            },
            Err(error) => error.into(),
        }
    }

    fn damaged(&self, disk: &dyn Disk, gap: Gap) -> OpenError {
        OpenError::Damaged(self.segment.on(disk).damage(gap.offset, gap.index, gap.what))
    }
}

/// Tells a watermark that lies between two batches from one that does not, and that from damage.
fn check_boundary(
    disk: &dyn Disk,
    sealed: &Sealed,
    start: u64,
    watermark: Watermark,
) -> Result<(), OpenError> {
    let segment = &*sealed.segment;
    let file = segment.on(disk);
    let mut bytes = [0; batch::HEADER_LEN];
    let read = file.read_at(&mut bytes, start)?;
    let bytes = filled(&bytes, read);
    let header = BatchHeader::parse(bytes, segment.salt(), watermark.position.get());
    if header.is_some_and(|header| header.first_index == watermark.next_index.get()) {
        return Ok(());
    }
    // If all batches up to here are whole, it is the watermark that is wrong.
    let scanner = Scanner::new(&segment.header);
    let found = if file.is_remote()? {
        let bytes = file.read_kept(sealed.batches_end)?.map_err(OpenError::Damaged)?;
        scanner.check_bodies_from(u64::MAX).all(&bytes)
    } else {
        scanner.all(&file.read_all(sealed.batches_end)?)
    };
    Err(match found.gap.what {
        DamageKind::Short => OpenError::Watermark {
            position: watermark.position,
            index: watermark.next_index,
            end: Position(segment.header.first_position + sealed.batches_end),
        },
        _ => OpenError::Damaged(found.damage(file)),
    })
}

/// A part of what is read.
struct Piece {
    reading: usize,
    segment: Arc<Segment>,
    range: Range<u64>,
}

/// All that is read, in order.
fn pieces(readings: &[Reading]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (reading, Reading { segment, range, .. }) in readings.iter().enumerate() {
        for start in range.clone().step_by(CHUNK_LEN) {
            let range = start..range.end.min(start + CHUNK_LEN as u64);
            pieces.push(Piece { reading, segment: Arc::clone(segment), range });
        }
    }
    pieces
}

impl Piece {
    /// Reads it into a buffer, which was used before, so that its memory is zeroed once only.
    fn read(&self, disk: &dyn Disk, mut buffer: Vec<u8>) -> Chunk {
        let Range { start: offset, end } = self.range;
        let len = end - offset;
        buffer.resize(HEADROOM_LEN + in_memory(len), 0);
        let room = rest_of_mut(&mut buffer, HEADROOM_LEN);
        let read = self.segment.file.read_local_at(room, offset);
        let result = read.map(|read| buffer.truncate(HEADROOM_LEN + read));
        let result = result
            .map_err(|source| self.segment.on(disk).failed(Action::Read { len, offset }, source));
        Chunk { reading: self.reading, buffer, result }
    }
}

/// Checks a chunk and hands its records on; gives its buffer back.
fn take_chunk(
    disk: &dyn Disk,
    readings: &mut [Reading],
    chunk: Chunk,
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<Vec<u8>, OpenError> {
    if let Err(error) = chunk.result {
        return Err(match readings.get(chunk.reading) {
            Some(reading) if is_unreadable(&error.cause) => reading.unreadable(disk, error),
            _ => error.into(),
        });
    }
    let mut buffer = chunk.buffer;
    if let Some(reading) = readings.get_mut(chunk.reading) {
        reading.take(disk, &mut buffer, replay)?;
    }
    Ok(buffer)
}

/// As the loop in [`replay_sealed`], with a second thread that reads; false, with nothing done, if
/// the system has no thread for it.
fn read_ahead(
    disk: &dyn Disk,
    readings: &mut [Reading],
    pieces: &[Piece],
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<bool, OpenError> {
    let (chunks, inbox): (SyncSender<Chunk>, Receiver<Chunk>) = sync_channel(CHUNKS_AHEAD);
    let (back, empties): (SyncSender<Vec<u8>>, Receiver<Vec<u8>>) = sync_channel(CHUNKS_AHEAD + 2);
    thread::scope(|scope| {
        let read = move || {
            for piece in pieces {
                let chunk = piece.read(disk, empties.try_recv().unwrap_or_default());
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
