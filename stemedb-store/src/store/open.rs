//! Opening a store.

use std::{
    collections::HashMap, fmt, io, panic::resume_unwind, path::Path, sync::Arc, time::Duration,
};

use crate::{
    checkpoint::{self, Checkpoint, CheckpointFault, Loaded, SetAside},
    clock::{ClockReport, Environment, LogClock},
    commit::{CommitOptions, Committer, Held, Verify},
    tiles::TileFile,
};
use stemedb_merkle::{
    AssertionId, Entry, LogIndex, MappedSetError, MerkleTree, Timestamp,
    history::{History, LogSize, tile::complete_tiles},
};
use stemedb_wal::{
    Position,
    disk::{DirLock, Disk, FileDisk, LOCK_NAME, is_quarantined, is_store_file},
    error::{Action, DiskError, OpenError as LogOpenError, ReadError as LogReadError},
    identity::{Copied, IDENTITY_NAME, Identity, IdentityError, SecretError},
    log::{
        KnownSegment, Log, LogOptions, LogReader, OpenReport as LogOpenReport, Origin, Placed,
        Replayed, Spares, Watermark, is_in_use,
    },
    remote::segment_of_stub,
};

use super::{
    Shared, Store, StoreReader,
    background::Background,
    heal::Healer,
    mark::Marker,
    occupied::occupants,
    overlay::Overlay,
    read::BodyReader,
    system::{ENVIRONMENT, uptime},
};
use crate::{
    error::{OpenError, dir_of},
    index::{
        CheckpointPace, Filter, Index, IndexState, IndexWriter, Recent, note_holes, set_entry,
    },
    options::{Hashing, Options, Secret},
};

/// What opening found worth telling. Prints as one line for each remark.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenReport {
    /// What was found.
    pub remarks: Vec<Warning>,
    /// How many records of the log were replayed.
    pub replayed: u64,
    /// Whether a restart checkpoint was of no use and set aside.
    pub checkpoint_set_aside: bool,
}

/// Something that opening found worth telling.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Warning {
    /// About the log: a torn tail, say.
    Log(stemedb_wal::log::Warning),
    /// A restart checkpoint was of no use.
    Checkpoint(SetAside),
    /// The directory is a copy, or was restored from one.
    Copied(Copied),
    /// The clock is far from the log.
    Clock(ClockReport),
    /// A restart checkpoint was of no use, and the store is only read.
    CheckpointUnused(SetAside),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(remark) => remark.fmt(f),
            Self::Checkpoint(aside) => aside.fmt(f),
            Self::Copied(copied) => copied.fmt(f),
            Self::Clock(report) => report.fmt(f),
            Self::CheckpointUnused(SetAside { file, fault }) => {
                write!(f, "the restart checkpoint {file} {fault}; it is not used")
            }
        }
    }
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.remarks.iter().try_for_each(|remark| writeln!(f, "{remark}"))
    }
}

/// Whether there is a store. What cannot be found out is an error, and not taken for a no.
pub(super) fn exists(dir: &Path) -> Result<bool, OpenError> {
    let segment = |name: &str| {
        name.strip_prefix("segment-").is_some_and(|rest| rest.strip_suffix(".log").is_some())
    };
    let disk = match FileDisk::open_read_only(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(|source| io_error(Action::Open, dir, source))?,
    };
    let names = disk.list().map_err(|source| io_error(Action::List, dir, source))?;
    Ok(names.iter().any(|name| name == IDENTITY_NAME || segment(name)))
}

pub(super) fn check_secret(dir: &Path, secret: Option<&Secret>) -> Result<(), OpenError> {
    let disk =
        FileDisk::open_read_only(dir).map_err(|source| io_error(Action::Open, dir, source))?;
    let identity = Identity::load(&disk)?;
    identity.check_secret(secret.map(Secret::expose)).map_err(|source| {
        let path = disk.path(IDENTITY_NAME);
        OpenError::Identity(IdentityError::Secret { path, source })
    })
}

pub(super) fn open_dir(dir: &Path, options: Options) -> Result<Store, OpenError> {
    let failed = |action| move |source| io_error(action, dir, source);
    let there = exists(dir)?;
    if !there && !options.create {
        return Err(OpenError::Missing { dir: dir.to_path_buf() });
    }
    let disk = if there { FileDisk::open(dir) } else { FileDisk::create(dir) };
    let disk = disk.map_err(failed(Action::Open))?;
    if !there && !options.create_among_files {
        let names = occupants(&disk).map_err(failed(Action::List))?;
        if let Some(file) = names.into_iter().find(|name| !is_store_file(name)) {
            return Err(OpenError::OtherFiles { dir: dir.to_path_buf(), file });
        }
    }
    open_on(Arc::new(disk), ENVIRONMENT, options)
}

pub(super) fn io_error(action: Action, path: &Path, source: io::Error) -> OpenError {
    DiskError::new(action, path.to_path_buf(), source).into()
}

/// The time for a commit; past the end of time the log refuses what it gets.
pub(super) fn reserve(clock: &mut LogClock) -> Timestamp {
    clock.reserve(1).unwrap_or(Timestamp::MAX)
}

pub(crate) fn origin(identity: &Identity) -> Origin {
    Origin {
        store_id: identity.store_id,
        generation: identity.generation,
        salt_seed: identity.salt_seed,
        clean: identity.clean,
    }
}

pub(super) fn log_options(options: &Options) -> LogOptions {
    LogOptions::default()
        .segment_len(options.segment_len)
        .body_len_max(options.body_len_max)
        .spares(if options.threads { Spares::Background } else { Spares::None })
        .map_files(options.map_files)
        .source(options.segment_source.clone())
}

/// Takes the directory's lock.
pub(super) fn take_lock(disk: &dyn Disk) -> Result<Arc<dyn DirLock>, OpenError> {
    let path = disk.path(LOCK_NAME);
    let locked = || OpenError::Locked { dir: dir_of(&path), holder: disk.lock_holder() };
    let check_free = || if is_in_use(disk)? { Err(locked()) } else { Ok(()) };
    // Without `LOCK`, whose lock another process may hold all the same: taking it makes a file,
    // which a directory in use is not to get.
    let names = disk.list().map_err(|source| io_error(Action::List, &dir_of(&path), source))?;
    if !names.iter().any(|name| name == LOCK_NAME) {
        check_free()?;
    }
    let lock = disk.lock().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => locked(),
        _ => io_error(Action::Open, &path, source),
    })?;
    // A writer whose `LOCK` this is would have it locked. If it may be another one than the store
    // was last opened with, somebody may have removed the one that a writer has.
    let found = lock.fingerprint();
    let is_same = |identity: Identity| identity.fingerprint == found && found.birth_nanos != 0;
    if !Identity::load(disk).is_ok_and(is_same) {
        check_free()?;
    }
    Ok(lock.into())
}

/// How long is waited for a lock at first, before it is asked for again; each time twice as long.
const LOCK_PAUSE_MIN: Duration = Duration::from_millis(1);

/// The longest of these pauses.
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(100);

/// Tries again while another process has the store open, with pauses of so long together.
pub(super) fn wait_for_lock<T>(
    world: Environment,
    wait: Duration,
    mut attempt: impl FnMut() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let (mut waited, mut pause) = (Duration::ZERO, LOCK_PAUSE_MIN);
    loop {
        match attempt() {
            Err(OpenError::Locked { .. }) if waited < wait => {}
            result => return result,
        }
        let next = pause.min(wait.saturating_sub(waited));
        (world.sleep)(next);
        waited += next;
        pause = (2 * pause).min(LOCK_PAUSE_MAX);
    }
}

pub(super) fn open_on(
    disk: Arc<dyn Disk>,
    world: Environment,
    options: Options,
) -> Result<Store, OpenError> {
    wait_for_lock(world, options.lock_wait, move || {
        open_to_write(Arc::clone(&disk), world, options.clone())
    })
}

fn open_to_write(
    disk: Arc<dyn Disk>,
    world: Environment,
    options: Options,
) -> Result<Store, OpenError> {
    let lock = take_lock(disk.as_ref())?;
    let mut report = OpenReport::default();
    let secret = options.secret.as_ref().map(Secret::expose);
    let fingerprint = lock.fingerprint();
    let opened = match Identity::open(disk.as_ref(), fingerprint, secret, world.entropy) {
        Err(IdentityError::Missing { .. }) if options.create && !has_segments(disk.as_ref())? => {
            Identity::create(disk.as_ref(), fingerprint, secret, world.entropy)?;
            Identity::open(disk.as_ref(), fingerprint, secret, world.entropy)
        }
        opened => opened,
    }?;
    report.remarks.extend(opened.copied.map(Warning::Copied));
    let mut identity = opened.identity;
    let hashing = Hashing::new(options.secret.as_ref(), opened.secret_missing);

    let open_log = writing(&disk, &options);
    let parts = restore(&disk, &identity, &options, hashing, &open_log, &mut report)?;
    // Only now: until the log was open, these files were the evidence that it has lost its end.
    parts.loaded.tidy(disk.as_ref())?;
    let Parts { log: OpenedLog { writer: log, reader }, trees, loaded } = parts;
    // And the checkpoints vouch for these: they are of use as long as the checkpoints are there.
    trees.folded.tiles().cut()?;
    report.remarks.extend(loaded.set_aside.into_iter().map(Warning::Checkpoint));
    if identity.clean.is_none() {
        // From now on a log whose files are all gone is noticed.
        identity.save_clean(disk.as_ref(), log.durable())?;
    }
    let last = (log.next_index() != 0).then(|| log.last_time());
    let (clock, clock_report) = LogClock::new(world.clock, identity.node_id, last);
    if clock_report != ClockReport::InStep {
        report.remarks.push(Warning::Clock(clock_report));
    }

    log.hold_lock(Arc::clone(&lock));
    let mut holes = trees.folded.holes.clone();
    note_holes(&mut holes, &trees.tail);
    let threads = options.threads;
    let read = assemble(Assembly {
        disk,
        world,
        options,
        identity,
        hashing,
        trees,
        checkpoint: loaded.checkpoint,
        reader,
        reached: log.durable(),
        report,
        lock: Some(lock),
    });
    let (index, pace) = (Arc::clone(&read.shared.index), Arc::clone(&read.shared.pace));
    let index_writer = IndexWriter::new(index, holes, threads, pace).map_err(OpenError::Thread)?;
    let writer = start(log, index_writer, Healer::of(&read), clock, &read.shared.options)?;
    let store = Store::new(read, Some(writer));
    if threads {
        let mut threads = super::lock(&store.threads);
        threads.background = Some(Background::start(&store.shared).map_err(OpenError::Thread)?);
        threads.marker = Some(Marker::start(&store.shared).map_err(OpenError::Thread)?);
        #[cfg(feature = "zstd")]
        {
            let compressor = super::compress::Compressor::start(&store.shared);
            threads.compressor = compressor.map_err(OpenError::Thread)?;
        }
    }
    Ok(store)
}

/// Opens a store once to read it, as it is on the disk at this moment. What opening makes in memory
/// only, the last tiles of the history above all, is laid over the directory.
pub(super) fn open_to_read(
    disk: Arc<dyn Disk>,
    world: Environment,
    options: Options,
) -> Result<StoreReader, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(Overlay::new(disk));
    let mut report = OpenReport::default();
    let identity = Identity::load(disk.as_ref())?;
    let hashing = hashing(disk.as_ref(), &identity, &options)?;
    let open_log = reading(&disk, &options);
    let Parts { log: OpenedLog { reader, .. }, trees, loaded } =
        restore(&disk, &identity, &options, hashing, &open_log, &mut report)?;
    trees.folded.tiles().cut()?;
    report.remarks.extend(loaded.set_aside.into_iter().map(Warning::CheckpointUnused));
    let last = (reader.next_index() != 0).then(|| reader.last_time());
    let clock_report = ClockReport::of((world.clock)(), last);
    if clock_report != ClockReport::InStep {
        report.remarks.push(Warning::Clock(clock_report));
    }
    Ok(assemble(Assembly {
        disk,
        world,
        options,
        identity,
        hashing,
        trees,
        checkpoint: loaded.checkpoint,
        reached: reader.reached(),
        reader,
        report,
        lock: None,
    }))
}

/// The way in which bodies of a store are hashed, with the secret that is given.
fn hashing(disk: &dyn Disk, identity: &Identity, options: &Options) -> Result<Hashing, OpenError> {
    match identity.check_secret(options.secret.as_ref().map(Secret::expose)) {
        Ok(()) => Ok(Hashing::new(options.secret.as_ref(), false)),
        Err(SecretError::Missing) => Ok(Hashing::new(options.secret.as_ref(), true)),
        Err(source) => {
            let path = disk.path(IDENTITY_NAME);
            Err(IdentityError::Secret { path, source }.into())
        }
    }
}

/// What the reading half of a store is made of.
struct Assembly {
    disk: Arc<dyn Disk>,
    world: Environment,
    options: Options,
    identity: Identity,
    hashing: Hashing,
    trees: Rebuilt,
    checkpoint: Option<Checkpoint>,
    reader: LogReader,
    /// Up to where the log is in the trees and their tail.
    reached: Watermark,
    report: OpenReport,
    lock: Option<Arc<dyn DirLock>>,
}

fn assemble(parts: Assembly) -> StoreReader {
    let Assembly { disk, world, options, identity, hashing, checkpoint, reader, .. } = parts;
    let Rebuilt { tree, filter, folded, tail, .. } = parts.trees;
    let tiles = folded.tiles().clone();
    let recent = Recent::new(&tail, parts.reached, tree.len());
    let index =
        Arc::new(Index::new(tree, filter, checkpoint.as_ref(), folded, recent, reader.clone()));
    let checkpointed = checkpoint.as_ref().map_or(0, |found| found.covered().next_index);
    let pace = Arc::new(CheckpointPace::new(checkpointed, options.checkpoint_every));
    let dir = dir_of(&disk.path(LOCK_NAME));
    let shared = Arc::new(Shared {
        disk,
        reader: reader.clone(),
        index,
        tiles,
        identity: identity.into(),
        saving_identity: ().into(),
        upkeep: super::Upkeep::default().into(),
        checkpoint: checkpoint.into(),
        checkpointing: ().into(),
        pace,
        initializing: ().into(),
        caches: ().into(),
        world,
        lock: parts.lock.into(),
        options,
    });
    let verify_reads = shared.options.verify_reads;
    let bodies = BodyReader { reader: reader.clone(), hashing, verify_reads };
    StoreReader { reader, bodies, hashing, shared, report: parts.report, dir, place: None }
}

fn has_segments(disk: &dyn Disk) -> Result<bool, OpenError> {
    let names =
        disk.list().map_err(|source| io_error(Action::List, &disk.path(LOCK_NAME), source))?;
    let is_segment = |name: &str| name.starts_with("segment-") || segment_of_stub(name).is_some();
    Ok(names.iter().any(|name| is_segment(name) && !is_quarantined(name)))
}

fn start(
    log: Log,
    index: IndexWriter,
    healer: Healer,
    mut clock: LogClock,
    options: &Options,
) -> Result<Committer, OpenError> {
    let clock = move || reserve(&mut clock);
    let verify: Arc<Verify> = Arc::new(move |held: &Held<'_>| healer.verify(held));
    if options.threads {
        let commit = CommitOptions {
            queue_records_max: options.queue_records_max,
            queue_bytes_max: options.queue_bytes_max,
            uptime,
            ..CommitOptions::default()
        };
        Committer::start(log, index, verify, clock, &commit).map_err(OpenError::Thread)
    } else {
        Ok(Committer::inline(log, index, verify, clock))
    }
}

/// Way to open a log: with the half that writes it, or without.
type OpenLog<'a, W> = dyn Fn(
        Option<Watermark>,
        &[KnownSegment],
        &Origin,
        &mut dyn FnMut(Replayed<'_>),
    ) -> Result<(OpenedLog<W>, LogOpenReport), LogOpenError>
    + 'a;

struct OpenedLog<W> {
    writer: W,
    reader: LogReader,
}

/// Opens a log to write it.
fn writing(disk: &Arc<dyn Disk>, options: &Options) -> Box<OpenLog<'static, Log>> {
    let (disk, options) = (Arc::clone(disk), log_options(options));
    Box::new(move |watermark, known, origin, replay| {
        let disk = Arc::clone(&disk);
        let (writer, report) = Log::open_known(disk, origin, &options, watermark, known, replay)?;
        let reader = writer.reader();
        Ok((OpenedLog { writer, reader }, report))
    })
}

/// Opens a log to read it.
fn reading(disk: &Arc<dyn Disk>, options: &Options) -> Box<OpenLog<'static, ()>> {
    let (disk, options) = (Arc::clone(disk), log_options(options));
    Box::new(move |watermark, known, origin, replay| {
        let disk = Arc::clone(&disk);
        let (reader, report) = LogReader::open(disk, origin, &options, watermark, known, replay)?;
        Ok((OpenedLog { writer: (), reader }, report))
    })
}

struct Parts<W> {
    log: OpenedLog<W>,
    trees: Rebuilt,
    loaded: Loaded,
}

/// The trees while the log is replayed into them.
struct Rebuilt {
    tree: MerkleTree,
    filter: Filter,
    folded: IndexState,
    /// What the restart checkpoint knows of the segments.
    segments: Vec<KnownSegment>,
    /// The last records, which are not in the trees.
    tail: Vec<Placed>,
    /// Why the set tree does not have everything.
    failure: Option<MappedSetError>,
}

/// Opens log and trees, from the restart checkpoint if there is one that fits, else from the log.
fn restore<W>(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    options: &Options,
    hashing: Hashing,
    open_log: &OpenLog<'_, W>,
    report: &mut OpenReport,
) -> Result<Parts<W>, OpenError> {
    let in_place = options.map_files;
    let mut loaded =
        checkpoint::load(disk.as_ref(), identity.store_id, identity.generation, in_place)?;
    let origin = origin(identity).marked(loaded.mark);
    let verified = options.verify_on_open.then_some(hashing);
    loop {
        let found = loaded.checkpoint.as_ref();
        let trees = match found {
            None => empty(disk, identity)?,
            Some(checkpoint) => match from_checkpoint(disk, identity, checkpoint)? {
                Ok(trees) => trees,
                Err(fault) => {
                    loaded.give_up(&fault);
                    continue;
                }
            },
        };
        let fault = match replay(&origin, verified, open_log, found, trees) {
            Ok((log, trees, opened)) => match check_tie(found, &trees, &log.reader)? {
                None => {
                    report.remarks.extend(opened.warnings.into_iter().map(Warning::Log));
                    report.replayed = opened.replayed;
                    report.checkpoint_set_aside = !loaded.set_aside.is_empty();
                    return Ok(Parts { log, trees, loaded });
                }
                Some(fault) => fault,
            },
            Err(OpenError::Log(LogOpenError::Watermark { .. })) => CheckpointFault::OtherLog,
            Err(error) => return Err(error),
        };
        loaded.give_up(&fault);
    }
}

fn empty(disk: &Arc<dyn Disk>, identity: &Identity) -> Result<Rebuilt, OpenError> {
    let tiles = TileFile::open(disk, identity.store_id, 0)?;
    // A file of no tiles is always there.
    let tiles = tiles.ok_or_else(|| {
        io_error(Action::Create, &disk.path("history.tiles"), io::ErrorKind::NotFound.into())
    })?;
    let folded = IndexState::new(History::new(), tiles, HashMap::new(), Timestamp::from_ntp64(0));
    Ok(Rebuilt {
        tree: MerkleTree::new(),
        filter: Filter::default(),
        folded,
        segments: Vec::new(),
        tail: Vec::new(),
        failure: None,
    })
}

/// Index from a checkpoint, or why that can't be.
fn from_checkpoint(
    disk: &Arc<dyn Disk>,
    identity: &Identity,
    checkpoint: &Checkpoint,
) -> Result<Result<Rebuilt, CheckpointFault>, OpenError> {
    let covered = checkpoint.covered();
    let state = match checkpoint.state() {
        Ok(state) => state,
        Err(error) => return Ok(Err(CheckpointFault::MappedSet(error))),
    };
    let size = LogSize(covered.next_index);
    let history = match History::from_pending(size, state.history) {
        Ok(history) if history.root() == covered.history_root => history,
        _ => return Ok(Err(CheckpointFault::Payload)),
    };
    let Some(tiles) = TileFile::open(disk, identity.store_id, complete_tiles(size))? else {
        return Ok(Err(CheckpointFault::Tiles));
    };
    let tree = MerkleTree::from_mapped_set(checkpoint.mapped_set(), covered.top_hash);
    let holes = state.holes.into_iter().collect();
    let folded = IndexState::new(history, tiles, holes, Timestamp::from_ntp64(covered.last_time));
    let segments = state.segments;
    let filter = Filter::default();
    Ok(Ok(Rebuilt { tree, filter, folded, segments, tail: Vec::new(), failure: None }))
}

/// Whether the checkpoint could take in the log's tail and ends with an entry that the log has.
fn check_tie(
    checkpoint: Option<&Checkpoint>,
    trees: &Rebuilt,
    reader: &LogReader,
) -> Result<Option<CheckpointFault>, OpenError> {
    let Some(covered) = checkpoint.map(Checkpoint::covered) else { return Ok(None) };
    if let Some(error) = &trees.failure {
        return Ok(Some(CheckpointFault::MappedSet(error.clone())));
    }
    let Some(last) = covered.next_index.checked_sub(1) else { return Ok(None) };
    // An index is found by way of all entries before it in its segment.
    let entry = match covered.last_position {
        0 => reader.entry_at(LogIndex(last)),
        position => reader.entry(Position(position)),
    };
    match entry {
        Ok(entry)
            if (entry.index.get(), entry.time.as_ntp64(), entry.id)
                == (last, covered.last_time, covered.last_id) =>
        {
            Ok(None)
        }
        // A disk that fails tells nothing of the checkpoint.
        Err(LogReadError::Disk(error)) => Err(error.into()),
        _ => Ok(Some(CheckpointFault::OtherLog)),
    }
}

/// So many entries are brought into the set tree at once, in a thread beside the replay.
const REPLAY_BATCH_LEN: usize = 4 << 20;

/// So many entries at the end are left to be folded once the store is open.
const TAIL_LEN_MAX: usize = 1 << 14;

/// Replays what the log has beyond the checkpoint. Bodies are held against their ids as `verified`
/// says, if so.
fn replay<W>(
    origin: &Origin,
    verified: Option<Hashing>,
    open_log: &OpenLog<'_, W>,
    checkpoint: Option<&Checkpoint>,
    trees: Rebuilt,
) -> Result<(OpenedLog<W>, Rebuilt, LogOpenReport), OpenError> {
    let watermark = checkpoint.map(|checkpoint| checkpoint.covered().mark());
    let mut wrong = None;
    let (mut tail, mut pending) = (Vec::new(), Vec::new());
    let Rebuilt { mut tree, mut filter, mut folded, segments, .. } = trees;
    let mut spawned = Ok(());
    let (opened, failure) = std::thread::scope(|scope| {
        let (batches, inbox) = std::sync::mpsc::sync_channel::<Vec<_>>(0);
        let mut inserter = Some((inbox, &mut tree, &mut filter));
        let mut running = None;
        let mut take_in = |records: Replayed<'_>| {
            if let Some(hashing) = verified.filter(|_| wrong.is_none()) {
                wrong = first_wrong_id(hashing, records);
            }
            tail.extend_from_slice(records.placed);
            if tail.len() < TAIL_LEN_MAX {
                return;
            }
            folded.apply(&tail);
            pending.extend(tail.drain(..).filter_map(|record| set_entry(&record)));
            if pending.len() >= REPLAY_BATCH_LEN {
                if let Some((inbox, tree, filter)) = inserter.take() {
                    let work = move || {
                        inbox.iter().try_for_each(|batch| take_in_batch(tree, filter, &batch))
                    };
                    match std::thread::Builder::new().spawn_scoped(scope, work) {
                        Ok(thread) => running = Some(thread),
                        Err(error) => spawned = Err(error),
                    }
                }
                // It fails only if the thread has met damage, which joining it returns.
                let _ = batches.send(std::mem::take(&mut pending));
            }
        };
        let opened = open_log(watermark, &segments, origin, &mut take_in);
        drop(batches);
        let failure = match (running, inserter) {
            // What it panicked in the midst of is not in the tree.
            (Some(running), _) => running.join().unwrap_or_else(|fault| resume_unwind(fault)).err(),
            (None, _) => None,
        };
        (opened, failure)
    });
    // What was replayed then is not in the tree.
    spawned.map_err(OpenError::Thread)?;
    let (log, opened) = opened?;
    if let Some((index, id)) = wrong {
        return Err(OpenError::WrongId { index, id });
    }
    let failure = failure.or_else(|| take_in_batch(&mut tree, &mut filter, &pending).err());
    Ok((log, Rebuilt { tree, filter, folded, segments, tail, failure }, opened))
}

fn take_in_batch(
    tree: &mut MerkleTree,
    filter: &mut Filter,
    entries: &[Entry],
) -> Result<(), MappedSetError> {
    filter.extend(entries);
    tree.insert_batch(entries).map(drop)
}

/// The first of the records whose body does not hash to its id. Bodies that are only in an archive
/// are not here.
pub(super) fn first_wrong_id(
    hashing: Hashing,
    records: Replayed<'_>,
) -> Option<(LogIndex, AssertionId)> {
    if records.is_remote() {
        return None;
    }
    let with_body = || records.placed.iter().filter(|record| record.kind.has_body());
    let wrong = hashing.first_wrong(with_body().map(|at| (records.body(at), at.id)))?;
    with_body().nth(wrong).map(|record| (record.index, AssertionId(record.id)))
}
