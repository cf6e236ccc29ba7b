//! Checks of a log in use: every byte is read, and nothing is changed.
//!
//! [`LogReader::check`] reads all of it; a [`Scrubber`] a little at a time. A segment is read in
//! chunks, in bounded memory. Only where something is wrong is it read again as a whole, to tell
//! all that is damaged.

mod scrub;

use std::sync::Arc;

use stemedb_merkle::LogIndex;

pub use self::scrub::{ScrubDamage, ScrubStep, Scrubber};

use crate::{
    disk::{Disk, SECTOR_LEN},
    error::{Damage, DamageKind, DiskError},
    internal::{filled, in_memory, rest_of_mut},
    log::{
        LogReader,
        segments::{Offsets, Segment},
    },
    repair::{
        HashBody,
        salvage::{Context, salvage},
    },
    scan::{
        Gap, Scanner,
        file::SegmentFile,
        offsets_of,
        pass::{CHUNK_LEN, Fed, HEADROOM_LEN, Pass},
        sectors::{Sectors, is_unreadable},
    },
    sealed::check_kept,
    segment::{HEADER_LEN, SegmentHeader, TRAILER_LEN, Trailer},
};

/// The least that is read with one call where there is so much: smaller reads cost as much.
const CHUNK_LEN_MIN: u64 = 64 << 10;

impl LogReader {
    /// Reads all published bytes and checks each: headers, batches, records, offsets, trailers;
    /// with `hash` also each body against its id. Segments that hold only entries before
    /// `from_index` are left out.
    ///
    /// `progress` hears after each segment how many bytes were read so far. Holes are no damage:
    /// they are known. Of segments that are in an archive, what is kept here is checked; see
    /// [`dropped_segments`](Self::dropped_segments).
    ///
    /// # Errors
    ///
    /// If the disk fails as a whole. Sectors that it cannot read are part of the result.
    pub fn check(
        &self,
        hash: Option<HashBody<'_>>,
        from_index: LogIndex,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Damage>, DiskError> {
        let shared = self.shared();
        // In this order: all that is published lies in segments of the list.
        let end = self.end().get();
        let segments = shared.segments();
        let mut found = Vec::new();
        let mut read = 0;
        for (n, segment) in segments.iter().enumerate() {
            let next = segments.get(n + 1).map(|next| next.header);
            if next.is_some_and(|next| next.first_index < from_index.get()) {
                continue;
            }
            let check = SegmentCheck::new(&*shared.disk, segment, next, hash, end);
            if check.file.is_remote()? {
                found.extend(check.kept(&mut read)?);
            } else {
                check.all(&mut read, &mut found)?;
            }
            progress(read);
        }
        Ok(found)
    }
}

/// The state of a check of one segment.
#[derive(Debug)]
struct Progress {
    first_position: u64,
    pass: Pass,
    offsets: Vec<u32>,
    buffer: Vec<u8>,
    /// Whether the header was read.
    begun: bool,
}

impl Progress {
    fn new(header: &SegmentHeader) -> Self {
        Self {
            first_position: header.first_position,
            pass: Pass::new(Scanner::new(header)),
            offsets: Vec::new(),
            buffer: Vec::new(),
            begun: false,
        }
    }

    /// The first entry behind the batches that were read.
    fn next_index(&self) -> u64 {
        self.pass.reached().next_index
    }
}

/// What reading a part of a segment has shown.
enum Outcome {
    More,
    Whole,
    /// Something is wrong, and what was met first. Nothing was met where opening the log has found
    /// the offsets at the end damaged.
    Damaged(Option<Gap>),
}

/// A segment as it is now, to be checked.
struct SegmentCheck<'a> {
    file: SegmentFile<'a>,
    segment: &'a Segment,
    next: Option<SegmentHeader>,
    hash: Option<HashBody<'a>>,
    /// How much of it is published.
    published: u64,
}

impl<'a> SegmentCheck<'a> {
    fn new(
        disk: &'a dyn Disk,
        segment: &'a Arc<Segment>,
        next: Option<SegmentHeader>,
        hash: Option<HashBody<'a>>,
        end: u64,
    ) -> Self {
        let first_position = segment.header.first_position;
        let published = match next {
            Some(next) => next.first_position - first_position,
            // One that was begun a moment ago has its header, and is not published yet.
            None => end.saturating_sub(first_position).max(HEADER_LEN as u64),
        };
        Self { file: segment.on(disk), segment, next, hash, published }
    }

    /// The offset at which the batches end; `None` where only reading them tells.
    fn batches_end(&self) -> Option<u64> {
        match (&self.segment.offsets, self.next) {
            (_, None) => Some(self.published),
            (Offsets::File { at, .. }, _) => Some(*at),
            (Offsets::Memory(_), _) => None,
        }
    }

    /// Reads all of it, and tells what is wrong.
    fn all(&self, total: &mut u64, found: &mut Vec<Damage>) -> Result<(), DiskError> {
        let before = *total;
        let mut progress = Progress::new(&self.segment.header);
        let first = loop {
            match self.read_on(&mut progress, CHUNK_LEN as u64, total)? {
                Outcome::More => {}
                Outcome::Whole => return Ok(()),
                Outcome::Damaged(first) => break first,
            }
        };
        let sectors = self.read_sectors()?;
        *total = before + sectors.bytes.len() as u64;
        found.extend(self.diagnose(&sectors, first));
        Ok(())
    }

    /// What is wrong with what is kept here of a segment in an archive.
    fn kept(&self, total: &mut u64) -> Result<Option<Damage>, DiskError> {
        let damage = || self.file.stub_damage(self.segment.header.first_index);
        let Some(next) = self.next else { return Ok(Some(damage())) };
        let bytes = match self.file.read_kept(self.published)? {
            Ok(bytes) => bytes,
            Err(damage) => return Ok(Some(damage)),
        };
        *total += bytes.len() as u64;
        let whole = check_kept(&self.segment.header, &bytes).is_some_and(|kept| {
            (kept.next_index.get(), kept.trailer_sum, kept.len)
                == (next.first_index, next.previous_sum, self.published)
        });
        Ok((!whole).then(damage))
    }

    /// Reads about `budget` bytes.
    fn read_on(
        &self,
        progress: &mut Progress,
        budget: u64,
        total: &mut u64,
    ) -> Result<Outcome, DiskError> {
        match self.read_chunk(progress, budget, total) {
            Err(error) if is_unreadable(&error.cause) => {
                let what = DamageKind::Unreadable { len: SECTOR_LEN as u64 };
                let (offset, index) = (progress.pass.next(), progress.next_index());
                Ok(Outcome::Damaged(Some(Gap { offset, index, what })))
            }
            outcome => outcome,
        }
    }

    fn read_chunk(
        &self,
        progress: &mut Progress,
        budget: u64,
        total: &mut u64,
    ) -> Result<Outcome, DiskError> {
        let header = &self.segment.header;
        let index = progress.next_index();
        let damaged = |offset, what| Ok(Outcome::Damaged(Some(Gap { offset, index, what })));
        if !progress.begun {
            let mut bytes = [0; HEADER_LEN];
            *total += self.file.read_at(&mut bytes, 0)? as u64;
            progress.begun = true;
            if SegmentHeader::parse(&bytes).as_ref() != Ok(header) {
                return damaged(0, DamageKind::SegmentHeader);
            }
        }
        let Some(batches_end) = self.batches_end() else { return Ok(Outcome::Damaged(None)) };
        let Progress { pass, offsets, buffer, .. } = progress;
        let at = pass.next();
        // A trailer may say that the batches end within the header.
        let left = batches_end.saturating_sub(at);
        let len = budget.clamp(CHUNK_LEN_MIN, CHUNK_LEN as u64).min(left);
        buffer.resize(HEADROOM_LEN + in_memory(len), 0);
        let read = self.file.read_at(rest_of_mut(buffer, HEADROOM_LEN), at)?;
        *total += read as u64;
        if (read as u64) < len {
            return damaged(at + read as u64, DamageKind::Short);
        }
        let fed = pass.feed(buffer, &mut |fed| {
            offsets.extend(offsets_of(header, fed.placed));
            self.check_ids(fed)
        });
        if let Err(gap) = fed {
            return Ok(Outcome::Damaged(Some(gap)));
        }
        if pass.next() < batches_end {
            return Ok(Outcome::More);
        }
        let reached = pass.reached();
        if reached.offset != batches_end {
            return damaged(reached.offset, DamageKind::Short);
        }
        let Some(next) = self.next else { return Ok(Outcome::Whole) };
        // One byte more, to notice a file that goes on.
        let len = in_memory(self.published - batches_end);
        let mut bytes = vec![0; len + 1];
        let read = self.file.read_at(&mut bytes, batches_end)?;
        *total += read as u64;
        let footer = reached.footer(header, offsets);
        let found = (filled(&bytes, read), next.previous_sum);
        if found == (footer.0.as_slice(), footer.1) {
            return if self.file.is_intact()? {
                Ok(Outcome::Whole)
            } else {
                damaged(0, DamageKind::Blocks)
            };
        }
        damaged(batches_end, DamageKind::Footer)
    }

    /// Holds bodies against their ids.
    fn check_ids(&self, fed: Fed<'_>) -> Result<(), Gap> {
        let Some(hash) = self.hash else { return Ok(()) };
        let base = self.segment.header.first_position + fed.offset;
        let with_body = || fed.placed.iter().filter(|placed| placed.kind.has_body());
        let bodies: Vec<&[u8]> =
            with_body().map(|placed| placed.body_in(fed.bytes, base)).collect();
        let mut ids = Vec::with_capacity(bodies.len());
        hash.ids(&bodies, &mut ids);
        match with_body().zip(ids).find(|(placed, id)| placed.id != *id) {
            None => Ok(()),
            Some((placed, _)) => {
                let offset = fed.offset + placed.body_range(base).start as u64;
                Err(Gap { offset, index: placed.index.get(), what: DamageKind::Id })
            }
        }
    }

    /// All that there is of the file, to tell what is damaged.
    fn read_sectors(&self) -> Result<Sectors, DiskError> {
        let len = if self.next.is_some() { self.file.len()? } else { 0 };
        self.file.read_sectors(len.max(self.published))
    }

    /// All that is wrong with the segment, of which `first` is what was met first.
    fn diagnose(&self, sectors: &Sectors, first: Option<Gap>) -> Vec<Damage> {
        let header = &self.segment.header;
        let bytes = sectors.bytes.as_slice();
        let mut found: Vec<Damage> = self.file.unreadable(sectors, header).collect();
        let mut damaged = |offset, index, what| found.push(self.file.damage(offset, index, what));
        if SegmentHeader::parse(bytes).as_ref() != Ok(header) {
            damaged(0, header.first_index, DamageKind::SegmentHeader);
        }
        // What cannot be read now is told by the bytes above.
        if let Ok(false) = self.file.is_intact() {
            damaged(0, header.first_index, DamageKind::Blocks);
        }
        let batches_end = self.batches_end();
        let context = Context {
            batches_end,
            sealed_len: self.next.map(|_| self.published),
            hash: self.hash,
            ..Context::new(header)
        };
        let salvaged = salvage(bytes, &context);
        for wrong in &salvaged.wrong {
            damaged(wrong.offset, wrong.index, wrong.what);
        }
        let whole = salvaged.wrong.iter().all(|wrong| wrong.what == DamageKind::Id);
        if let Some(next) = self.next {
            let (footer, sum) = salvaged.footer(header);
            if whole && (batches_end.is_some() || salvaged.next_index == next.first_index) {
                let rest = bytes.get(salvaged.end..);
                if rest != Some(footer.as_slice()) || sum != next.previous_sum {
                    damaged(salvaged.end as u64, header.first_index, DamageKind::Footer);
                }
            } else if Trailer::at_end(bytes, header, bytes.len() as u64).is_none() {
                let len = self.published.max(bytes.len() as u64);
                let offset = len - TRAILER_LEN as u64;
                damaged(offset, header.first_index, DamageKind::Footer);
            }
        }
        if found.is_empty() {
            // It has gone by itself, which nobody should rely on.
            let first = first.map(|gap| self.file.damage(gap.offset, gap.index, gap.what));
            found.extend(first);
        }
        found
    }
}
