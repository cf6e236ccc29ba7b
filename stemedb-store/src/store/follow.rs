//! A reader beside the writer of another process: opened, and brought up to what that has written.
//!
//! Nobody is locked out, so what is read may change meanwhile: files get others in their place or
//! are removed, and of a batch that is being written any part may show. What looks wrong for such a
//! reason looks otherwise a moment later; what is wrong stays. So an error is believed once it
//! comes twice in a row, with the same names in the directory.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use stemedb_merkle::{AssertionId, Timestamp};
use stemedb_wal::{
    disk::{Disk, FileDisk, is_quarantined},
    error::Action,
    identity::Identity,
    log::{Appended, LogReader, Replayed, UnfinishedBatch},
};

use super::{
    LogId, OpenReport, StoreReader, Warning, lock,
    open::{exists, first_wrong_id, io_error, log_options, open_to_read, origin},
    system::ENVIRONMENT,
};
use crate::{
    checkpoint::is_checkpoint,
    clock::Environment,
    error::{OpenError, with_causes},
    options::Options,
};

/// How often a store that looks wrong is opened, at most, to find out whether it is.
pub(super) const TRIES: u32 = 32;

/// How long what a writer does may take to be over.
pub(super) const PAUSE: Duration = Duration::from_millis(10);

/// Most new entries that a refresh replays; beyond, it opens the store again.
const CATCH_UP_LEN_MAX: usize = 1 << 18;

/// Where a store lies, for one that goes on to read it.
#[derive(Debug)]
pub(super) struct Place {
    directory: Directory,
    /// What the directory had when it was opened.
    seen: DirectoryState,
    shown: Shown,
}

/// What a reader shows of the log, by which it goes on.
#[derive(Clone, Copy, Debug)]
struct Shown {
    last: LastEntry,
    /// The batch that is under way behind it, once that was seen.
    unfinished: Option<UnfinishedBatch>,
}

/// The log as it is when a reader goes on.
enum Next {
    /// More in the same segment.
    Appended(Appended),
    /// More in other segments.
    Reopened(LogReader),
}

/// Time and id of the last entry that is shown, if there is one that can be read. Kept in memory:
/// the file may have other contents by now.
type LastEntry = Option<(Timestamp, AssertionId)>;

#[derive(Clone, Debug)]
enum Directory {
    /// At this path, whichever directory that is now.
    At(PathBuf),
    On(Arc<dyn Disk>),
}

/// State of a directory by which a reader goes on or not: it changes where the log is another
/// one, as a repair keeps a copy of what it replaces, and where opening again is cheap, as a new
/// restart checkpoint takes the place of others.
#[derive(Debug, PartialEq, Eq)]
struct DirectoryState {
    log: LogId,
    generation: u32,
    names: Vec<String>,
}

impl Directory {
    fn disk(&self) -> Result<Arc<dyn Disk>, OpenError> {
        match self {
            Self::On(disk) => Ok(Arc::clone(disk)),
            Self::At(dir) => match FileDisk::open_read_only(dir) {
                Ok(disk) => Ok(Arc::new(disk)),
                Err(source) => Err(io_error(Action::Open, dir, source)),
            },
        }
    }
}

impl DirectoryState {
    fn of(identity: &Identity, names: &[String]) -> Self {
        Self {
            log: LogId { node: identity.node_id, epoch: identity.epoch },
            generation: identity.generation,
            names: relevant(names),
        }
    }
}

/// Names of restart checkpoints and quarantined files.
fn relevant(names: &[String]) -> Vec<String> {
    let is_relevant = |name: &&String| is_checkpoint(name) || is_quarantined(name);
    names.iter().filter(is_relevant).cloned().collect()
}

/// Restart checkpoints that an opening did not use, and why; none if it used what there is.
fn unused_checkpoints(report: &OpenReport) -> Option<String> {
    let unused = |warning: &&Warning| matches!(warning, Warning::CheckpointUnused(_));
    let unused = report.remarks.iter().filter(unused).map(ToString::to_string);
    report.checkpoint_set_aside.then(|| unused.collect::<Vec<_>>().join("; "))
}

pub(super) fn open_dir(dir: &Path, options: Options) -> Result<StoreReader, OpenError> {
    if !exists(dir)? {
        return Err(OpenError::Missing { dir: dir.to_path_buf() });
    }
    open(Directory::At(dir.to_path_buf()), ENVIRONMENT, options)
}

pub(super) fn open_on(
    disk: Arc<dyn Disk>,
    world: Environment,
    options: Options,
) -> Result<StoreReader, OpenError> {
    open(Directory::On(disk), world, options)
}

fn open(
    directory: Directory,
    world: Environment,
    options: Options,
) -> Result<StoreReader, OpenError> {
    let attempt = move |disk| open_to_read(disk, world, options.clone());
    let mut before = None;
    let mut tries = 1;
    loop {
        let disk = directory.disk()?;
        let names = list(&*disk)?;
        let opened = attempt(disk);
        // A checkpoint of no use is one whatever the writer appends meanwhile.
        let (problem, relevant) = match &opened {
            Ok(reader) => (unused_checkpoints(&reader.report), relevant(&names)),
            Err(error) => (Some(with_causes(error)), names.clone()),
        };
        let seen = Some((problem, relevant));
        if matches!(&seen, Some((None, _))) || seen == before || tries == TRIES {
            let reader = opened?;
            let seen = DirectoryState::of(&lock(&reader.shared.identity), &names);
            let last = reader.log_size().last_index();
            let last = last.and_then(|last| reader.entry(last).ok()?);
            let last = last.map(|entry| (entry.time, entry.id));
            let shown = Shown { last, unfinished: None };
            return Ok(StoreReader { place: Some(Place { directory, seen, shown }), ..reader });
        }
        before = seen;
        tries += 1;
        (world.sleep)(PAUSE);
    }
}

fn list(disk: &dyn Disk) -> Result<Vec<String>, OpenError> {
    disk.list().map_err(|source| io_error(Action::List, &disk.path(""), source))
}

impl StoreReader {
    /// Goes on to what the store holds now: entries that a writer has appended since, on whatever
    /// segments and restart checkpoints, and the log of a store that was repaired or restored
    /// meanwhile.
    ///
    /// Takes time in proportion to what is new, and where the log has a new segment to the number
    /// of segments; once for an append that is under way as reading the rest of the last segment
    /// takes; and as opening takes where the writer has written a restart checkpoint.
    ///
    /// Of a store that this process writes nothing is to be refreshed: reads see all appends.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. The reader then shows what it showed before.
    pub fn refresh(&mut self) -> Result<(), OpenError> {
        let Some(place) = &self.place else { return Ok(()) };
        // Whatever keeps it from going on, opening reports what there is.
        if let Ok(Some(shown)) = self.catch_up(place) {
            if let Some(place) = &mut self.place {
                place.shown = shown;
            }
            return Ok(());
        }
        let (directory, world) = (place.directory.clone(), self.shared.world);
        *self = open(directory, world, self.shared.options.clone())?;
        Ok(())
    }

    /// Takes in what the log has behind what is known of it; what is shown then. `None`, and
    /// nothing is changed, where it is not to be had so.
    fn catch_up(&self, place: &Place) -> Result<Option<Shown>, OpenError> {
        let disk = place.directory.disk()?;
        let identity = Identity::load(&*disk)?;
        let is_seen = |identity: &Identity| {
            list(&*disk).map(|names| DirectoryState::of(identity, &names) == place.seen)
        };
        if !is_seen(&identity)? || self.tree_failure().is_some() {
            return Ok(None);
        }
        let options = &self.shared.options;
        let Shown { last, unfinished } = place.shown;
        let (mut new, mut wrong) = (Vec::new(), None);
        let mut replay = |records: Replayed<'_>| {
            if options.verify_on_open && wrong.is_none() {
                wrong = first_wrong_id(self.hashing, records);
            }
            if new.len() <= CATCH_UP_LEN_MAX {
                new.extend_from_slice(records.placed);
            }
        };
        let last_id = last.map(|(_, id)| id.0);
        let read = self.reader.read_on(&*disk, last_id, unfinished, &mut replay)?;
        let (next, reached, unfinished) = if let Some(appended) = read {
            let (reached, unfinished) = (appended.reached(), appended.unfinished());
            (Next::Appended(appended), reached, unfinished)
        } else {
            let reached = self.reader.reached();
            let known = self.reader.known_segments(reached.position.get());
            let (origin, options) = (origin(&identity), log_options(options));
            let (reached, disk) = (Some(reached), Arc::clone(&disk));
            let (newer, _) =
                LogReader::open(disk, &origin, &options, reached, &known, &mut replay)?;
            let reached = newer.reached();
            (Next::Reopened(newer), reached, None)
        };
        let is_shorter = identity.clean.is_some_and(|clean| clean.position > reached.position);
        let is_other = match &next {
            Next::Appended(_) => false,
            Next::Reopened(newer) => !self.is_front_of(newer, last),
        };
        if is_shorter || is_other || wrong.is_some() || new.len() > CATCH_UP_LEN_MAX {
            return Ok(None);
        }
        // Names once more: what was read is of one and the same log.
        let is_new = reached != self.reader.reached();
        if is_new && !is_seen(&Identity::load(&*disk)?)? {
            return Ok(None);
        }
        // The last that can fail: from here on all of it is taken in.
        if self.shared.index.make_room(new.len()).is_err() {
            return Ok(None);
        }
        match next {
            Next::Appended(appended) => self.reader.show(&appended),
            Next::Reopened(newer) => self.reader.adopt(&newer),
        }
        self.shared.index.extend(&new, reached);
        let newest = new.iter().rfind(|record| record.kind.takes_index());
        let last = newest.map(|record| (record.time, AssertionId(record.id))).or(last);
        Ok(Some(Shown { last, unfinished }))
    }

    /// Whether a log has the last entry that is shown in its place.
    fn is_front_of(&self, log: &LogReader, last: LastEntry) -> bool {
        let Some(index) = self.log_size().last_index() else { return true };
        let found = log.entry_at(index).ok().map(|entry| (entry.time, AssertionId(entry.id)));
        last.is_some() && found == last
    }
}
