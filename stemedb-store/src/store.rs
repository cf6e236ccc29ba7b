//! A store: a durable log of assertions, with a root over what it holds and one over its history.

use std::{
    future::Future,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::{debug, warn};

use crate::{
    Receipt,
    checkpoint::Checkpoint,
    clock::Environment,
    commit::{Committer, Pending as PartPending, Submission, SubmissionBuilder},
    tiles::TileFile,
};
use stemedb_merkle::{Hash, LogSize};
use stemedb_wal::{
    disk::{DirLock, Disk},
    identity::Identity,
    log::LogReader,
    repair::HashBodies,
};

use crate::{
    error::{AppendError, CheckpointError, CloseError, OpenError},
    index::{CheckpointPace, Index},
    options::{BodyHasher, Hashing, Options},
};

mod archived;
mod background;
mod backup;
mod bodies;
mod check;
mod checkpoint;
mod comparison;
#[cfg(feature = "zstd")]
mod compress;
mod entries;
mod follow;
mod heal;
mod history;
mod mark;
mod occupied;
mod open;
mod overlay;
mod proven;
mod read;
mod records;
mod repair;
mod scrub;
mod sketch;
mod snapshot;
mod staged;
mod stats;
mod system;
mod upkeep;
mod watch;

#[cfg(feature = "zstd")]
pub use self::compress::CompressReport;
pub use self::{
    archived::{CheckpointFiles, FrontError, FrontHead},
    occupied::occupants,
    staged::{RevealError, Staged},
    stats::{CheckpointGauges, Gauges},
    system::ENVIRONMENT,
};
pub use self::{
    backup::{BackupReport, restore},
    bodies::{Bodies, EntryBodies},
    check::{CheckReport, Depth, Progress},
    checkpoint::CheckpointReport,
    comparison::Comparison,
    entries::{Entries, Entry},
    heal::Healed,
    open::{OpenReport, Warning},
    proven::Proven,
    records::Records,
    repair::{RepairOptions, RepairReport, repair, repair_on, repair_with},
    snapshot::{Ids, Snapshot, SnapshotDiff},
    stats::Stats,
    system::uptime,
    upkeep::Upkeep,
    watch::{LogId, ResumePoint, Watch, WatchBodies},
};

/// A durable, append-only set of assertions, content-addressed.
///
/// All methods can be called from any number of threads. Appends return once they are durable;
/// reads see everything that was acknowledged, and are never held up by a sync.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use stemedb_store::{Options, Presence, Proven, Store};
///
/// let store = Store::open(dir.path(), Options::default())?;
/// let receipt = store.append(b"the sky is blue")?;
/// assert_eq!(store.get(&receipt.id)?.as_deref(), Some(&b"the sky is blue"[..]));
///
/// let Proven { proof, head } = store.prove(&receipt.id)?;
/// assert_eq!(proof.verify(&head.set_root)?, Presence::Present);
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What reads it is [`StoreReader`], which a store is as well. A program that only reads opens that
/// alone, also beside a process that writes: [`Store::open_read_only`].
#[derive(Debug)]
pub struct Store {
    read: StoreReader,
    /// None where the store is only read.
    writer: Option<Committer>,
    threads: Mutex<Threads>,
    /// The directory as one in which segments may have been dropped.
    followed: Arc<watch::Followed>,
    /// Whether it was closed; held while it is.
    closed: Mutex<bool>,
}

/// Threads beside that of the writer.
#[derive(Debug, Default)]
struct Threads {
    background: Option<background::Background>,
    marker: Option<mark::Marker>,
    #[cfg(feature = "zstd")]
    compressor: Option<compress::Compressor>,
}

/// The reading half of a store: all that [`Store`] has but for what changes it.
///
/// Opened alone, by [`Store::open_read_only`], it shows the store as it was then, and goes on with
/// [`refresh`](Self::refresh). It locks nothing and writes nothing: any number of processes read a
/// store while one appends to it, on a file system that is mounted read-only, as a user without the
/// right to write, or of a backup, which stays one.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use stemedb_store::{Options, Store};
///
/// let store = Store::open(dir.path(), Options::default())?;
/// let id = store.append(b"the sky is blue")?.id;
///
/// let mut reader = Store::open_read_only(dir.path(), Options::default())?;
/// assert_eq!(reader.get(&id)?.as_deref(), Some(&b"the sky is blue"[..]));
/// store.append(b"and far away")?;
/// assert_eq!(reader.len(), 1);
/// reader.refresh()?;
/// assert_eq!(reader.root()?, store.root()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StoreReader {
    reader: LogReader,
    bodies: read::BodyReader,
    hashing: Hashing,
    shared: Arc<Shared>,
    report: OpenReport,
    dir: PathBuf,
    /// Where it goes on; none where the store is written by this process.
    place: Option<follow::Place>,
}

impl Deref for Store {
    type Target = StoreReader;

    fn deref(&self) -> &StoreReader {
        &self.read
    }
}

/// A store that is only read, for what takes a whole one: appends fail with
/// [`AppendError::ReadOnly`].
///
/// That is a session with a peer: it reads and appends, and a store that is full or on read-only
/// media still answers and gives. A view of what a session reads would repeat some forty methods in
/// the responder, the server and their tasks, to leave out the four calls that append.
impl From<StoreReader> for Store {
    fn from(read: StoreReader) -> Self {
        Self::new(read, None)
    }
}

/// What the threads of a store share beside the writer.
#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    reader: LogReader,
    index: Arc<Index>,
    tiles: TileFile,
    options: Options,
    identity: Mutex<Identity>,
    /// Held while somebody saves the identity.
    saving_identity: Mutex<()>,
    /// What could not be done in the background.
    upkeep: Mutex<Upkeep>,
    /// The restart checkpoint that the set tree lies in. Held for a moment only.
    checkpoint: Mutex<Option<Checkpoint>>,
    /// Held while a restart checkpoint is written.
    checkpointing: Mutex<()>,
    /// How far restart checkpoints have come, and whether appends wait for them.
    pace: Arc<CheckpointPace>,
    /// Held while the first coded symbols are made.
    initializing: Mutex<()>,
    /// Held while a small file beside the log is read and replaced.
    caches: Mutex<()>,
    world: Environment,
    /// The lock of the directory, until the store is closed; none where it is only read.
    lock: Mutex<Option<Arc<dyn DirLock>>>,
}

/// Appends under way; see [`Store::submit`].
#[derive(Debug)]
#[must_use = "waiting tells whether they are durable"]
pub struct Pending {
    parts: Vec<PartPending>,
    last: Result<PartPending, AppendError>,
}

/// So many bytes of bodies are handed to the writer at once, and written all or none.
const SUBMISSION_LEN_MAX: usize = 16 << 20;

/// And where there are more, so many at a time behind them: the writer works on them while the ids
/// of the next are computed, and little is left to do once the last one comes.
const LATER_SUBMISSION_LEN_MAX: usize = 2 << 20;

impl Pending {
    /// Waits until all of them are durable.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub fn wait(self) -> Result<Vec<Receipt>, AppendError> {
        let mut receipts = Vec::new();
        for part in self.parts {
            receipts.extend(part.wait()?);
        }
        receipts.extend(self.last?.wait()?);
        Ok(receipts)
    }
}

impl Store {
    fn new(read: StoreReader, writer: Option<Committer>) -> Self {
        let followed = watch::Followed::new(read.bodies.clone(), Arc::clone(&read.shared.index));
        let (followed, threads, closed) = (Arc::new(followed), Mutex::default(), Mutex::default());
        Self { read, writer, threads, followed, closed }
    }

    /// Whether a directory has a store in it.
    ///
    /// # Errors
    ///
    /// If it is there and cannot be listed.
    pub fn exists(dir: impl AsRef<Path>) -> Result<bool, OpenError> {
        open::exists(dir.as_ref())
    }

    /// Checks whether a secret, or none, is what the store in a directory was made with. The store
    /// is not opened, and may be in use.
    ///
    /// # Errors
    ///
    /// If it is not, or the identity of the store cannot be read.
    pub fn check_secret(
        dir: impl AsRef<Path>,
        secret: Option<&crate::Secret>,
    ) -> Result<(), OpenError> {
        open::check_secret(dir.as_ref(), secret)
    }

    /// Opens the store in a directory, or makes one.
    ///
    /// Takes time in proportion to what was appended since the last restart checkpoint. Whatever a
    /// crash left behind is put in order; [`open_report`](StoreReader::open_report) tells.
    ///
    /// One process has a store open at a time. Another one waits for it, for as long as
    /// [`Options::lock_wait`] says.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. The store is as it was.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        open::open_dir(dir.as_ref(), options).inspect(Self::log_opening)
    }

    /// Opens the store in a directory to read it, whether a process writes to it or not. Nothing is
    /// locked, and nothing in the directory changed: no torn tail is cut, no mark and no restart
    /// checkpoint written, and a copy of a store stays what it is.
    ///
    /// All that was acknowledged before the call is seen. So may be appends that the writer has
    /// written and not synced yet: those are in the log whole, and only a power cut or a failing
    /// disk can still take them back. Of a batch that is being written nothing is seen. Damage is
    /// an error as ever, and never repaired; what may only be wrong because another process writes
    /// is looked at again first.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_read_only(
        dir: impl AsRef<Path>,
        options: Options,
    ) -> Result<StoreReader, OpenError> {
        follow::open_dir(dir.as_ref(), options)
    }

    /// As [`open_read_only`](Self::open_read_only), on a disk of any kind, with clock and sleep
    /// from outside.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_read_only_on(
        disk: Arc<dyn Disk>,
        world: Environment,
        options: Options,
    ) -> Result<StoreReader, OpenError> {
        follow::open_on(disk, world, options)
    }

    /// Opens the store on a disk of any kind, with clock and randomness from outside.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        world: Environment,
        options: Options,
    ) -> Result<Self, OpenError> {
        open::open_on(disk, world, options).inspect(Self::log_opening)
    }

    fn log_opening(&self) {
        let path = self.dir.display();
        for remark in &self.report.remarks {
            warn!(%path, "{remark}");
        }
        debug!(%path, replayed = self.report.replayed, entries = %self.log_size(), "opened");
    }

    /// Whether the store is only read: made of a [`StoreReader`].
    pub fn is_read_only(&self) -> bool {
        self.writer.is_none()
    }

    /// Appends an assertion and waits until it is durable.
    ///
    /// One that is held already is not written again: its body is read back, and put right if it
    /// was damaged on the disk; its first receipt comes back.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. Nothing was acknowledged; after a failing disk only reopening tells
    /// whether it is there.
    pub fn append(&self, body: &[u8]) -> Result<Receipt, AppendError> {
        Ok(self.writer()?.append(self.id(body)?, body)?)
    }

    /// Appends assertions together and waits until all are durable. A crash keeps all of them or
    /// none if they have at most 16 MiB together; of more it may keep the first ones.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. None was acknowledged.
    pub fn append_batch(
        &self,
        bodies: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Vec<Receipt>, AppendError> {
        let (parts, last) = self.submit_all_but_the_last(bodies);
        match last {
            Ok(last) if parts.is_empty() => Ok(self.writer()?.append_batch(last)?),
            last => self.pending(parts, last).wait(),
        }
    }

    /// Queues assertions to be appended together, and returns at once unless the queue is full.
    pub fn submit(&self, bodies: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Pending {
        let (parts, last) = self.submit_all_but_the_last(bodies);
        self.pending(parts, last)
    }

    /// Queues all but what fits the last submission, or the error that came before.
    fn submit_all_but_the_last(
        &self,
        bodies: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> (Vec<PartPending>, Result<Submission<'static>, AppendError>) {
        let mut parts = Vec::new();
        let writer = self.writer();
        let last =
            writer.and_then(|writer| self.split(bodies, |part| parts.push(writer.submit(part))));
        (parts, last)
    }

    /// Makes submissions of bodies, and hands on all but the last as they are full; that one is
    /// returned.
    fn split(
        &self,
        bodies: impl IntoIterator<Item = impl AsRef<[u8]>>,
        mut full: impl FnMut(Submission<'static>),
    ) -> Result<Submission<'static>, AppendError> {
        let mut bodies = bodies.into_iter().peekable();
        if bodies.peek().is_none() {
            return Ok(Submission::new());
        }
        let (hasher, writer) = (self.hasher()?, self.writer()?);
        let mut submission = SubmissionBuilder::new(hasher);
        let mut len_max = SUBMISSION_LEN_MAX;
        for body in bodies {
            let body = body.as_ref();
            if submission.len() > 0 && submission.bytes_len() + body.len() > len_max {
                full(submission.take());
                len_max = LATER_SUBMISSION_LEN_MAX;
                let buffer = writer.buffer(len_max);
                submission = SubmissionBuilder::in_buffer(hasher, buffer);
            }
            submission.push(body);
        }
        Ok(submission.take())
    }

    fn pending(
        &self,
        parts: Vec<PartPending>,
        last: Result<Submission<'static>, AppendError>,
    ) -> Pending {
        let last = last.and_then(|last| Ok(self.writer()?.submit(last)));
        Pending { parts, last }
    }

    /// Appends an assertion; the future is done when it is durable. It is queued at the first poll,
    /// and dropping the future after that does not undo it. Any runtime will do.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub fn append_async(
        &self,
        body: Vec<u8>,
    ) -> impl Future<Output = Result<Receipt, AppendError>> + Send + 'static + use<> {
        let id = self.id(&body);
        let append = id.and_then(|id| Ok(self.writer()?.append_async(id, body)));
        async move { Ok(append?.await?) }
    }

    /// Appends assertions together; the future is done when all are durable. They are copied and
    /// hashed here, queued from the first poll on, in order and as there is room, and dropping the
    /// future after that does not undo what was queued. What a crash keeps of them is as with
    /// [`append_batch`](Self::append_batch). Any runtime will do.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = stemedb_store::Store::open(dir.path(), stemedb_store::Options::default())?;
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    /// # runtime.block_on(async {
    /// let receipts = store.append_batch_async(["one", "another"]).await?;
    /// assert_eq!((receipts.len(), store.len()), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. None was acknowledged.
    pub fn append_batch_async<I>(
        &self,
        bodies: I,
    ) -> impl Future<Output = Result<Vec<Receipt>, AppendError>> + Send + 'static + use<I>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut parts = Vec::new();
        let last = self.writer().and_then(|writer| {
            let last = self.split(bodies, |part| parts.push(writer.enqueue_async(part)))?;
            Ok(writer.enqueue_async(last))
        });
        async move {
            let last = last?;
            let mut pending = Vec::with_capacity(parts.len() + 1);
            for part in parts.into_iter().chain([last]) {
                pending.push(part.await);
            }
            let mut receipts = Vec::new();
            for part in pending {
                receipts.extend(part.await?);
            }
            Ok(receipts)
        }
    }

    /// The id of a body that is to be appended.
    fn id(&self, body: &[u8]) -> Result<Hash, AppendError> {
        self.hasher().map(|hasher| hasher.id(body))
    }

    /// What hashes bodies that are to be appended.
    fn hasher(&self) -> Result<BodyHasher, AppendError> {
        self.writer()?;
        self.hashing.hasher().ok_or(AppendError::SecretMissing)
    }

    fn writer(&self) -> Result<&Committer, AppendError> {
        self.writer.as_ref().ok_or(AppendError::ReadOnly)
    }

    /// Panics in the midst of a change of the set tree, for tests of what callers are told then.
    ///
    /// # Panics
    ///
    /// Always.
    #[doc(hidden)]
    pub fn break_trees(&self) {
        self.shared.index.panic_in_a_change();
    }

    /// Writes a restart checkpoint now, so that the next opening is fast. Appends go on meanwhile.
    ///
    /// # Errors
    ///
    /// See [`CheckpointError`]. The store goes on with the one before.
    pub fn checkpoint(&self) -> Result<CheckpointReport, CheckpointError> {
        if self.is_read_only() {
            return Err(CheckpointError::ReadOnly);
        }
        checkpoint::write(&self.shared)
    }

    /// Closes the store: what waits is written, and where the log ends is written down, so that a
    /// log that lost its end is noticed. Dropping a store does the same with nobody to be told.
    ///
    /// Other threads may still use the store meanwhile. When this returns, also with an error, the
    /// directory is free to be opened again; whatever is asked of this store from then on fails
    /// with [`AppendError::Log`] or [`ReadError::Closed`], and watches end. Snapshots that were
    /// taken before can still be asked. Closing it once more does nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// use stemedb_store::{Options, ReadError, Store};
    ///
    /// let store = std::sync::Arc::new(Store::open(dir.path(), Options::default())?);
    /// let id = store.append(b"the sky is blue")?.id;
    /// store.close()?;
    /// assert!(store.append(b"too late").is_err());
    /// assert!(matches!(store.get(&id), Err(ReadError::Closed)));
    /// assert!(Store::open(dir.path(), Options::default())?.contains(&id)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CloseError`]. All that was acknowledged is durable all the same.
    ///
    /// [`ReadError::Closed`]: crate::ReadError::Closed
    pub fn close(&self) -> Result<(), CloseError> {
        let mut closed = lock(&self.closed);
        if std::mem::replace(&mut *closed, true) {
            return Ok(());
        }
        let ended = self.end();
        // A checkpoint that another thread writes is written to its end, and no other is begun.
        let checkpointing = lock(&self.shared.checkpointing);
        self.shared.index.close();
        self.reader.close();
        drop(checkpointing);
        // The same for a small file.
        drop(lock(&self.shared.caches));
        let dir_lock = lock(&self.shared.lock).take();
        drop(dir_lock);
        debug!(path = %self.dir.display(), "closed");
        ended
    }

    /// Ends the threads and the writer, and writes down where the log ends.
    fn end(&self) -> Result<(), CloseError> {
        if self.is_read_only() {
            self.followed.end();
            return Ok(());
        }
        let Threads {
            background,
            marker,
            #[cfg(feature = "zstd")]
            compressor,
        } = std::mem::take(&mut *lock(&self.threads));
        #[cfg(feature = "zstd")]
        if let Some(compressor) = compressor {
            compressor.stop();
        }
        if let Some(background) = background {
            background.stop();
        }
        if let Some(marker) = marker {
            marker.stop();
        }
        // Failing that, the next opening meets the damage again.
        let _ = checkpoint::leave_damaged(&self.shared);
        let tail = checkpoint::tail_len(&self.shared);
        let due =
            tail > background::TAIL_LEN_AT_CLOSE_MAX || tail > 0 && sketch::is_new(&self.shared);
        if self.shared.options.threads && due {
            // Failing that, the next opening replays more of the log.
            let _ = self.checkpoint();
        }
        self.followed.end();
        if let Some(writer) = &self.writer {
            let mark = writer.close()?;
            self.shared.save_mark(mark)?;
        }
        Ok(())
    }
}

impl StoreReader {
    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What opening found worth telling.
    pub fn open_report(&self) -> &OpenReport {
        &self.report
    }

    /// Whether the store has a secret that was not given: bodies can then be neither appended nor
    /// checked.
    pub fn lacks_secret(&self) -> bool {
        matches!(self.hashing, Hashing::SecretMissing)
    }

    /// Which store this is, for good.
    pub fn store_id(&self) -> [u8; 16] {
        lock(&self.shared.identity).store_id
    }

    /// Whether the store was made with a secret.
    pub fn has_secret(&self) -> bool {
        lock(&self.shared.identity).secret_check.is_some()
    }

    /// Receiver of the size of the log, changed by each append. Of a reader that is opened
    /// alone it ends when a [`refresh`](Self::refresh) opens the store again.
    pub fn growth(&self) -> tokio::sync::watch::Receiver<LogSize> {
        self.shared.index.watch()
    }

    /// Why the set tree can't be read, if that is so.
    pub fn tree_failure(&self) -> Option<crate::error::TreeFailure> {
        self.shared.index.failure()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // An error has no caller to go to; what was acknowledged is durable.
        let _ = self.close();
    }
}

/// Locks a mutex. What it guards is whole even if a thread died with it: each change is one step.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
