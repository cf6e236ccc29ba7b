//! Which segments there are, and whether they follow from one another.

use std::sync::Arc;

use stemedb_merkle::LogIndex;

use super::Warning;
use crate::{
    disk::{Disk, DiskFile, is_temporary},
    error::{Action, DamageKind, OpenError},
    files,
    internal::filled,
    log::{
        KnownSegment, Origin,
        handles::{Handles, KnownEnd, SealedFile, SegmentBytes},
        segments::{Offsets, Segment},
    },
    remote::{LogDir, Opened},
    scan::{
        Scanner,
        file::{SegmentFile, stub_damage},
        offsets_of,
        sectors::is_unreadable,
    },
    segment::{
        HEADER_LEN, HeaderError, SegmentHeader, TRAILER_LEN, Trailer, footer_len,
        parse_segment_name, segment_name,
    },
};

/// A segment whose header was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) file: SegmentBytes,
    pub(crate) len: u64,
    pub(crate) header: SegmentHeader,
}

impl Found {
    pub(crate) fn file<'a>(&'a self, disk: &'a dyn Disk) -> SegmentFile<'a> {
        SegmentFile { disk, name: &self.name, file: &self.file }
    }

    /// The index behind its last entry. Any index may be in a header, as nothing is known of it.
    fn next_index(&self, entries: u32) -> u64 {
        self.header.first_index.saturating_add(u64::from(entries))
    }

    /// The same one, of which the file can be closed.
    fn sealed(self, handles: &Arc<Handles>) -> Self {
        match self.file {
            SegmentBytes::Open(file) => {
                Self { file: SealedFile::opened(&self.name, file, handles), ..self }
            }
            SegmentBytes::Sealed(_) => self,
        }
    }
}

/// What lies in the directory.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The live segments, in order: sealed ones, ready to be read.
    pub(crate) sealed: Vec<Sealed>,
    /// The last one, and its file.
    pub(crate) last: Option<(Found, Arc<dyn DiskFile>)>,
    /// Segments of other generations, left over from a repair.
    pub(crate) superseded: Vec<String>,
    /// Temporary files that nobody will finish.
    pub(crate) temporary: Vec<String>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) handles: Arc<Handles>,
}

/// A segment that another one follows.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) segment: Arc<Segment>,
    /// The offset at which its batches end.
    pub(crate) batches_end: u64,
}

/// Lists the directory, reads the header of each segment and the trailer of each but the last, and
/// checks that each follows from the one before; but for those that a restart checkpoint knows.
/// Sealed ones are mapped, if so, once records are read. O(segments).
pub(crate) fn survey(
    disk: &LogDir,
    origin: &Origin,
    known: &[KnownSegment],
    map_files: bool,
) -> Result<Survey, OpenError> {
    let names = files::list_segments(disk)?;
    let mut survey = Survey {
        sealed: Vec::new(),
        last: None,
        superseded: Vec::new(),
        temporary: Vec::new(),
        warnings: Vec::new(),
        handles: Arc::new(Handles::new(disk.clone(), map_files)),
    };
    let mut live = Vec::new();
    for name in names {
        match parse_segment_name(&name) {
            Some((generation, first_index)) if generation == origin.generation => {
                live.push((first_index, name));
            }
            Some(_) => survey.superseded.push(name),
            None if is_temporary(&name) => survey.temporary.push(name),
            None => {}
        }
    }
    if live.is_empty()
        && let Some(name) = survey.superseded.first()
        && let Some((found, _)) = parse_segment_name(name)
    {
        let path = disk.path(name);
        return Err(OpenError::Generation { path, found, expected: origin.generation });
    }
    live.sort_unstable();
    survey.sealed = known_sealed(disk, origin, known, &live, &survey.handles).unwrap_or_default();
    let mut before: Option<Found> = None;
    for (first_index, name) in live.into_iter().skip(survey.sealed.len()) {
        let found = read_header(disk, origin, name, first_index)?;
        match before.take() {
            None if survey.sealed.is_empty() => check_first(&**disk, origin, &found.header)?,
            // It is the one that the restart checkpoint knows as the next.
            None => {}
            Some(before) => {
                let before = before.sealed(&survey.handles);
                let sealed = follow(&**disk, origin, before, &found, &mut survey.warnings)?;
                survey.sealed.push(sealed);
            }
        }
        before = Some(found);
    }
    survey.last = match before {
        None => None,
        Some(Found { file: SegmentBytes::Open(Opened::Local(file)), name, len, header }) => {
            let found = Found { file: Arc::clone(&file).into(), name, len, header };
            Some((found, file))
        }
        // Only sealed segments are dropped: those behind it are gone.
        Some(last) => {
            let entries = read_trailer(&**disk, &last)?.map_or(0, |trailer| trailer.entries);
            let first_index = last.next_index(entries);
            let path = disk.path(&segment_name(origin.generation, first_index));
            return Err(OpenError::Missing { path, first_index: LogIndex(first_index) });
        }
    };
    Ok(survey)
}

/// The sealed segments that a restart checkpoint knows, if all that it knows fits what lies in the
/// directory: the names, the lengths of those that are sealed, and the header of the last one.
fn known_sealed(
    disk: &LogDir,
    origin: &Origin,
    known: &[KnownSegment],
    live: &[(u64, String)],
    handles: &Arc<Handles>,
) -> Option<Vec<Sealed>> {
    check_first(&**disk, origin, &known.first()?.header).ok()?;
    let (last, sealed) = known.split_last()?;
    let (first_index, name) = live.get(sealed.len())?;
    let found = read_header(disk, origin, name.clone(), *first_index).ok()?;
    if found.header != last.header {
        return None;
    }
    let next = known.iter().skip(1).map(|next| &next.header);
    let all = sealed.iter().zip(next).zip(live);
    all.map(|((known, next), (_, name))| {
        let KnownSegment { header, batches_end } = *known;
        let batches_end = u64::from(batches_end);
        let entries = u32::try_from(next.first_index.checked_sub(header.first_index)?).ok()?;
        let len = next.first_position.checked_sub(header.first_position)?;
        let fits = segment_name(origin.generation, header.first_index) == *name
            && batches_end + footer_len(u64::from(entries)) == len
            && disk.has_segment(name, len).ok()?;
        let end = KnownEnd { header, len, trailer_sum: next.previous_sum };
        let file = SealedFile::closed(name, handles, end);
        let offsets = Offsets::File { at: batches_end, entries };
        let segment = Arc::new(Segment { name: name.clone(), file, header, offsets });
        fits.then_some(Sealed { segment, batches_end })
    })
    .collect()
}

fn read_header(
    disk: &LogDir,
    origin: &Origin,
    name: String,
    first_index: u64,
) -> Result<Found, OpenError> {
    let opened =
        disk.open_segment(&name).map_err(|source| match stub_damage(&**disk, &name, &source) {
            Some(damage) => OpenError::Damaged(damage),
            None => files::failed(&**disk, Action::Open, &name, source).into(),
        })?;
    let opened = SegmentBytes::Open(opened);
    let file = SegmentFile { disk: &**disk, name: &name, file: &opened };
    let len = file.len()?;
    file.checked_len(len)?;
    let mut bytes = [0; HEADER_LEN];
    let path = disk.path(&name);
    let read = match file.read_at(&mut bytes, 0) {
        Err(error) if is_unreadable(&error.cause) => {
            let what = DamageKind::Unreadable { len: HEADER_LEN as u64 };
            return Err(OpenError::Damaged(file.damage(0, first_index, what)));
        }
        read => read?,
    };
    let header = match SegmentHeader::parse(filled(&bytes, read)) {
        Ok(header) => header,
        Err(HeaderError::Version(version)) => return Err(OpenError::Version { path, version }),
        Err(HeaderError::Damaged) => {
            let what = DamageKind::SegmentHeader;
            return Err(OpenError::Damaged(file.damage(0, first_index, what)));
        }
    };
    if header.store_id != origin.store_id {
        return Err(OpenError::OtherStore { path });
    }
    if (header.generation, header.first_index) != (origin.generation, first_index) {
        let SegmentHeader { generation, first_index, .. } = header;
        return Err(OpenError::Misnamed { path, generation, first_index: LogIndex(first_index) });
    }
    Ok(Found { name, file: opened, len, header })
}

fn check_first(disk: &dyn Disk, origin: &Origin, first: &SegmentHeader) -> Result<(), OpenError> {
    if first.first_index == 0 && first.first_position == 0 {
        return Ok(());
    }
    let path = disk.path(&segment_name(origin.generation, 0));
    Err(OpenError::Missing { path, first_index: LogIndex(0) })
}

/// Checks that `next` follows from `before`.
fn follow(
    disk: &dyn Disk,
    origin: &Origin,
    before: Found,
    next: &Found,
    warnings: &mut Vec<Warning>,
) -> Result<Sealed, OpenError> {
    let damaged = |offset, what| {
        let index = before.header.first_index;
        Err(OpenError::Damaged(before.file(disk).damage(offset, index, what)))
    };
    let trailer = read_trailer(disk, &before)?;
    if let Some(trailer) = trailer {
        let next_index = before.next_index(trailer.entries);
        if next.header.first_index != next_index {
            let path = disk.path(&segment_name(origin.generation, next_index));
            return Err(OpenError::Missing { path, first_index: LogIndex(next_index) });
        }
    }
    let expected_len = next.header.first_position.checked_sub(before.header.first_position);
    let Some(expected_len) = expected_len else {
        return damaged(0, DamageKind::Sequence);
    };
    if before.len < expected_len {
        return damaged(before.len, DamageKind::Short);
    }
    if before.len > expected_len {
        return damaged(expected_len, DamageKind::Long);
    }
    let Some(trailer) = trailer.filter(|trailer| trailer.sum == next.header.previous_sum) else {
        return rebuild_footer(disk, before, next, warnings);
    };
    let offsets = Offsets::File { at: trailer.batches_end, entries: trailer.entries };
    let Found { name, file, header, .. } = before;
    let segment = Arc::new(Segment { name, file, header, offsets });
    Ok(Sealed { segment, batches_end: trailer.batches_end })
}

fn read_trailer(disk: &dyn Disk, found: &Found) -> Result<Option<Trailer>, OpenError> {
    let Some(at) = found.len.checked_sub(TRAILER_LEN as u64) else { return Ok(None) };
    let mut bytes = [0; TRAILER_LEN];
    let read = match found.file(disk).read_at(&mut bytes, at) {
        // It is made again from the rest.
        Err(error) if is_unreadable(&error.cause) => return Ok(None),
        read => read?,
    };
    Ok(Trailer::at_end(filled(&bytes, read), &found.header, found.len))
}

/// Makes a lost footer again, in memory, from all batches of the segment.
fn rebuild_footer(
    disk: &dyn Disk,
    found: Found,
    next: &Found,
    warnings: &mut Vec<Warning>,
) -> Result<Sealed, OpenError> {
    let file = found.file(disk);
    let sectors = file.read_sectors(found.len)?;
    let scanned = Scanner::new(&found.header).all(&sectors.bytes);
    let reached = scanned.reached;
    let offsets: Vec<u32> = offsets_of(&found.header, &scanned.placed).collect();
    let (footer, sum) = reached.footer(&found.header, &offsets);
    if sum != next.header.previous_sum || reached.offset + footer.len() as u64 != found.len {
        let damage = file.unreadable(&sectors, &found.header).next();
        return Err(OpenError::Damaged(damage.unwrap_or_else(|| scanned.damage(file))));
    }
    warnings.push(Warning::FooterRebuilt { path: disk.path(&found.name) });
    let offsets = Offsets::Memory(Arc::new(offsets.into()));
    let Found { name, file, header, .. } = found;
    let segment = Arc::new(Segment { name, file, header, offsets });
    Ok(Sealed { segment, batches_end: reached.offset })
}
