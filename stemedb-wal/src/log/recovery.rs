//! Opening a log: after a clean close, after a crash, or on a damaged disk.
//!
//! 1. The headers of all segments and the trailers of all but the last are read, and must follow
//!    from one another; but for those that the restart checkpoint knows.
//! 2. The last segment is read to the end of its batches. What lies there is the end of the log, or
//!    torn, or damage: see [`judge`](crate::scan::judge).
//! 3. What lies behind the watermark is checked and replayed.
//! 4. Only then is anything changed: what a crash left is put in order, see `finish`. A reader
//!    leaves that out, and ends before it.
//!
//! Crashing again at any point of it is normal.

mod finish;
pub(super) mod last;
mod replay;
pub(super) mod survey;

use std::{fmt, io, path::PathBuf, sync::Arc};

use stemedb_merkle::LogIndex;

pub use self::last::UnfinishedBatch;
use self::{
    last::Tail,
    survey::{Found, Survey},
};
use crate::{
    disk::{Disk, DiskFile, NotAFile},
    error::{Action, DiskError, OpenError},
    files,
    log::{
        KnownSegment, Log, LogOptions, LogReader, Origin, Placed, Recovered, Spares, Watermark,
        create_first,
        offsets::MemoryOffsets,
        segments::{Offsets, Segment, Shared},
    },
    position::Position,
    remote::LogDir,
    scan::judge::Verdict,
    segment::parse_segment_name,
};

/// Records that are replayed, in the order of the log.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    /// The records.
    pub placed: &'a [Placed],
    pub(crate) bytes: &'a [u8],
    pub(crate) first_position: u64,
    pub(crate) remote: bool,
}

impl<'a> Replayed<'a> {
    /// Whether the bodies are only in an archive: [`body`](Self::body) then gives zeros.
    pub fn is_remote(&self) -> bool {
        self.remote
    }

    /// The body of one of the records; of a hole, zeros.
    pub fn body(&self, placed: &Placed) -> &'a [u8] {
        placed.body_in(self.bytes, self.first_position)
    }
}

/// What was found and done when a log was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// What a person should know, in the order in which it was found.
    pub warnings: Vec<Warning>,
    /// How many records were replayed.
    pub replayed: u64,
}

/// Something that a person should know about an opening.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// What a crash left of batches that were never durable was cut.
    TornTail {
        /// The segment.
        path: PathBuf,
        /// Where it was cut.
        offset: u64,
        /// How many bytes were cut, zeros at the end not counted.
        len: u64,
        /// How many entries the log has now.
        index: u64,
        /// Where a copy of them is.
        kept: PathBuf,
    },
    /// What follows the last whole batch is of an append that is under way, or that a crash ended.
    /// The log is only read, and ends before it.
    UnfinishedAppend {
        /// The segment.
        path: PathBuf,
        /// Where the log ends in it.
        offset: u64,
        /// How many bytes follow, zeros at the end not counted.
        len: u64,
    },
    /// A crash came between two segments.
    UnfinishedSeal {
        /// The segment that was being sealed, and is open again.
        path: PathBuf,
    },
    /// The offsets at the end of a segment are damaged, and were made again in memory.
    FooterRebuilt {
        /// The segment.
        path: PathBuf,
    },
    /// A file that was never finished was removed.
    Leftover {
        /// The file.
        path: PathBuf,
    },
    /// A segment that a repair has replaced was quarantined.
    Superseded {
        /// What it was.
        path: PathBuf,
        /// Where it is.
        kept: PathBuf,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail { path, offset, len, index, kept } => write!(
                f,
                "{}: cut {len} bytes at byte {offset} that a crash left of an append that was \
                 never acknowledged; the log has {index} entries, and a copy is in {}",
                path.display(),
                kept.display()
            ),
            Self::UnfinishedAppend { path, offset, len } => write!(
                f,
                "{}: {len} bytes at byte {offset} are of an append that is under way, or that a \
                 crash ended before it was acknowledged; they are not read",
                path.display()
            ),
            Self::UnfinishedSeal { path } => write!(
                f,
                "{}: a crash came while the log went on to the next segment; nothing is lost",
                path.display()
            ),
            Self::FooterRebuilt { path } => write!(
                f,
                "{}: the offsets at its end are damaged and were rebuilt in memory; a \
                 repair writes them",
                path.display()
            ),
            Self::Leftover { path } => {
                write!(f, "{}: removed; it was never finished", path.display())
            }
            Self::Superseded { path, kept } => {
                write!(f, "{}: replaced by a repair; renamed to {}", path.display(), kept.display())
            }
        }
    }
}

/// See [`Log::open`].
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    origin: &Origin,
    options: &LogOptions,
    watermark: Option<Watermark>,
    known: &[KnownSegment],
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<(Log, OpenReport), OpenError> {
    let dir = LogDir::new(disk, options.source.clone());
    let disk: &dyn Disk = &*dir;
    let mut survey = survey::survey(&dir, origin, known, options.map_files)?;
    let mut report =
        OpenReport { warnings: std::mem::take(&mut survey.warnings), ..OpenReport::default() };
    let Some((last, file)) = survey.last.take() else {
        return create(&dir, origin, options, watermark, survey, report);
    };

    lock_last(disk, &last, &*file)?;

    // A restart checkpoint is written of what is durable.
    let origin = &origin.marked(watermark);
    let replayed = read(disk, origin, options, watermark, &survey, &last, replay)?;
    report.replayed = replayed.records;
    let tail = replayed.tail;

    let mut recovered = Recovered {
        handles: Arc::clone(&survey.handles),
        segments: Vec::new(),
        open: open_segment(&last, &file, replayed.offsets),
        file,
        offset: tail.reached.offset,
        allocated: last.len,
        next_index: tail.reached.next_index,
        last_time: tail.reached.last_time,
        marked: marked(origin).max(tail.reached.durable_upto),
        records_end: tail.reached.records_end,
    };
    let clean_end = Watermark {
        position: Position(last.header.first_position + last.len),
        next_index: LogIndex(tail.reached.next_index),
    };
    let warnings = &mut report.warnings;
    if origin.clean != Some(clean_end) || tail.rest != Verdict::End {
        recovered.allocated =
            finish::finish_last(disk, &last, &*recovered.file, &tail, recovered.marked, warnings)?;
    }
    finish::tidy(&dir, &survey.temporary, &survey.superseded, warnings)?;
    recovered.segments = survey.sealed.into_iter().map(|sealed| sealed.segment).collect();
    recovered.segments.push(Arc::clone(&recovered.open));
    let mut log = Log::from_recovered(origin, options, recovered);
    // Nothing is appended, so nothing else can fail.
    if let Err(crate::error::AppendError::Poisoned(error)) = log.mark() {
        return Err(error.into());
    }
    log.publish();
    Ok((log, report))
}

impl LogReader {
    /// Opens a log to read it alone, beside a writer or without one: nothing is locked and nothing
    /// changed. The records behind `watermark` are handed to `replay`, as by
    /// [`Log::open_known`](super::Log::open_known).
    ///
    /// It shows all whole batches, those included that are written and not synced yet. What a
    /// writer does meanwhile may be an error: one that stays the same when the caller tries again
    /// is of the log.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        origin: &Origin,
        options: &LogOptions,
        watermark: Option<Watermark>,
        known: &[KnownSegment],
        replay: &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(Self, OpenReport), OpenError> {
        let dir = LogDir::new(disk, options.source.clone());
        let disk: &dyn Disk = &*dir;
        let mut survey = survey::survey(&dir, origin, known, options.map_files)?;
        let mut report =
            OpenReport { warnings: std::mem::take(&mut survey.warnings), ..OpenReport::default() };
        let origin = &origin.marked(watermark);
        let Some((last, file)) = survey.last.take() else {
            // The process that makes the store has not made a segment yet.
            check_new(&dir, origin)?;
            let shared = Shared::new(survey.handles, Vec::new());
            return Ok((Self::new(Arc::new(shared)), report));
        };
        let replayed = read(disk, origin, options, watermark, &survey, &last, replay)?;
        report.replayed = replayed.records;
        let Tail { reached, .. } = replayed.tail;
        if let Verdict::Torn = replayed.tail.rest {
            let (path, offset) = (disk.path(&last.name), reached.offset);
            let len = replayed.tail.torn().len() as u64;
            report.warnings.push(Warning::UnfinishedAppend { path, offset, len });
        }
        let open = open_segment(&last, &file, replayed.offsets);
        let sealed = survey.sealed.into_iter().map(|sealed| sealed.segment);
        let shared = Shared::new(survey.handles, sealed.chain([open]).collect());
        let end = last.header.first_position + reached.offset;
        shared.publish(end, reached.next_index, reached.last_time);
        Ok((Self::new(Arc::new(shared)), report))
    }
}

/// What was read of a log: all that is there but for the sealed segments before the watermark.
struct Read {
    tail: Tail,
    /// The offsets of the entries in the last segment.
    offsets: Arc<MemoryOffsets>,
    /// How many records were replayed.
    records: u64,
}

/// Reads the last segment, and everything behind the watermark. Changes nothing.
fn read(
    disk: &dyn Disk,
    origin: &Origin,
    options: &LogOptions,
    watermark: Option<Watermark>,
    survey: &Survey,
    last: &Found,
    replay: &mut dyn FnMut(Replayed<'_>),
) -> Result<Read, OpenError> {
    let mut tail = last::read_last(disk, last, marked(origin), watermark)?;
    check_end(disk, origin, watermark, last, &tail)?;

    let mut records = 0;
    let mut counting = |replayed: Replayed<'_>| {
        records += replayed.placed.len() as u64;
        replay(replayed);
    };
    let parallel = options.spares == Spares::Background;
    replay::replay_sealed(disk, &survey.sealed, watermark, parallel, &mut counting)?;
    let placed = std::mem::take(&mut tail.placed);
    if !placed.is_empty() {
        let first_position = last.header.first_position + tail.base;
        let bytes = tail.bytes.as_slice();
        counting(Replayed { placed: &placed, bytes, first_position, remote: false });
    }
    let offsets = std::mem::take(&mut tail.offsets);
    let earlier = tail.reached.next_index - last.header.first_index - offsets.len() as u64;
    let offsets = Arc::new(MemoryOffsets::from_middle(earlier, tail.base, offsets));
    Ok(Read { tail, offsets, records })
}

/// The highest mark that is known beside the log, as a position.
fn marked(origin: &Origin) -> u64 {
    origin.clean.map_or(0, |mark| mark.position.get())
}

fn open_segment(
    last: &Found,
    file: &Arc<dyn DiskFile>,
    offsets: Arc<MemoryOffsets>,
) -> Arc<Segment> {
    Arc::new(Segment {
        name: last.name.clone(),
        file: Arc::clone(file).into(),
        header: last.header,
        offsets: Offsets::Memory(offsets),
    })
}

/// Locks the segment that is going to be written to, whatever the lock of the directory is worth:
/// it may have been removed.
fn lock_last(disk: &dyn Disk, last: &Found, file: &dyn DiskFile) -> Result<(), OpenError> {
    let in_use = || OpenError::InUse { path: disk.path(&last.name) };
    file.lock().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => in_use(),
        _ => last.file(disk).failed(Action::Lock, source).into(),
    })?;
    // It is not the last one any more if somebody went on in the meantime.
    let names = files::list(disk)?;
    let later = |name: &String| {
        parse_segment_name(name).is_some_and(|(generation, first_index)| {
            generation == last.header.generation && first_index > last.header.first_index
        })
    };
    if names.iter().any(later) { Err(in_use()) } else { Ok(()) }
}

/// Whether a log is written to at this moment, as far as the locks of its segments tell.
///
/// The names of segments don't tell which of them a writer has locked: stray files may have higher
/// names. So all locks are tried, those with the highest names first, with one file open at a time.
///
/// # Errors
///
/// If that cannot be found out.
pub fn is_in_use(disk: &dyn Disk) -> Result<bool, DiskError> {
    let names = files::list(disk)?;
    for name in names.iter().rev().filter(|name| parse_segment_name(name).is_some()) {
        let file = match disk.open(name) {
            Ok(file) => file,
            // Nobody writes to what is gone, or is no file; opening the log tells.
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_no_file(&error) => continue,
            Err(source) => return Err(files::failed(disk, Action::Open, name, source)),
        };
        let locked = file.is_locked();
        if locked.map_err(|source| files::failed(disk, Action::Lock, name, source))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_no_file(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(cause) if cause.is::<NotAFile>())
}

/// The log is not shorter than it was.
fn check_end(
    disk: &dyn Disk,
    origin: &Origin,
    watermark: Option<Watermark>,
    last: &Found,
    tail: &Tail,
) -> Result<(), OpenError> {
    let end = Position(last.header.first_position + tail.reached.offset);
    let next_index = LogIndex(tail.reached.next_index);
    if let Some(clean) = origin.clean
        && (clean.position > end || clean.next_index > next_index)
    {
        let path = disk.path(&last.name);
        let (marked, marked_index) = (clean.position, clean.next_index);
        return Err(OpenError::Shortened { path, end, next_index, marked, marked_index });
    }
    match watermark {
        Some(watermark) if !tail.has_boundary(last, watermark) => {
            let Watermark { position, next_index: index } = watermark;
            Err(OpenError::Watermark { position, index, end })
        }
        _ => Ok(()),
    }
}

/// There is no segment: makes the first one, if there should be none.
fn create(
    dir: &LogDir,
    origin: &Origin,
    options: &LogOptions,
    watermark: Option<Watermark>,
    survey: Survey,
    mut report: OpenReport,
) -> Result<(Log, OpenReport), OpenError> {
    check_new(dir, &origin.marked(watermark))?;
    finish::tidy(dir, &survey.temporary, &[], &mut report.warnings)?;
    let recovered = create_first(survey.handles, origin)?;
    Ok((Log::from_recovered(origin, options, recovered), report))
}

/// Nothing says that there were segments.
fn check_new(dir: &LogDir, origin: &Origin) -> Result<(), OpenError> {
    let Some(clean) = origin.clean else { return Ok(()) };
    Err(OpenError::Shortened {
        path: dir.path(""),
        end: Position(0),
        next_index: LogIndex(0),
        marked: clean.position,
        marked_index: clean.next_index,
    })
}
