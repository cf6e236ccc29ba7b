//! A disk in memory that fails the way disks do, from a seed.
//!
//! Beside what reads show it keeps what a power cut would leave, by the rules of the
//! [seam](stemedb_wal::disk), and it cuts the power in each way that they allow ([`Survival`]). It
//! fails chosen operations ([`Fault`]), fills up, and takes damage. Given the same calls and seeds
//! it does the same.
//!
//! ```text
//!               write, set_len            sync               power_cut
//!   caller ---> pending changes -------> durable ----------> the next boot's disk
//!                      |                    ^                      ^
//!                      | failed sync        | sync, if             | in part, as
//!                      v                    | written again        | Survival says
//!                   rewrite_needed sectors -------+----------------------+
//! ```
//!
//! A [`fork`](FaultyDisk::fork) shares all contents until they change: it costs about a microsecond
//! a file, so that a history can be [recorded](FaultyDisk::observe) at every step and the power cut
//! at each of them.

mod fault;
mod random;
mod survival;
mod unsynced;
mod volume;

pub use self::{
    fault::{Fault, FaultKind, Operation, Target},
    survival::Survival,
    unsynced::UnsyncedDisk,
};

use self::{
    fault::Armed,
    random::Random,
    volume::{Inode, Volume},
};
use std::{
    collections::BTreeMap,
    fmt, io,
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use stemedb_wal::disk::{
    Bytes, DirLock, Disk, DiskFile, Fingerprint, LOCK_NAME, check_name, loaded::Loaded,
    pages::Pages,
};

/// A directory in memory with a power switch. Clones are the same directory.
#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

/// A moment in the life of a [`FaultyDisk`]: right before an operation.
#[derive(Clone, Debug)]
pub struct Step {
    /// How many [mutating](Operation::mutates) operations came before.
    pub number: u64,
    /// What comes next.
    pub operation: Operation,
    /// The file that it is about, by its present name; empty where there is none.
    pub name: String,
    /// A fork of the disk as it is.
    pub disk: FaultyDisk,
}

/// What a read of a bad sector returns.
const EIO: i32 = 5;

type Observer = Box<dyn FnMut(Step) + Send>;

#[derive(Default)]
struct State {
    volume: Volume,
    seed: u64,
    locked: bool,
    open: BTreeMap<Inode, u64>,
    counts: BTreeMap<Operation, u64>,
    faults: Vec<Armed>,
    faults_hit: u64,
    /// How many reads there were, by how much they asked for.
    reads: BTreeMap<usize, u64>,
    /// Parts of files that reads fail on.
    unreadable: Vec<(Inode, Range<u64>)>,
    observer: Option<Observer>,
}

/// What an operation is about.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Directory,
    Name(&'a str),
    File(Inode),
}

impl FaultyDisk {
    /// An empty directory without faults and without limits.
    pub fn new(seed: u64) -> Self {
        Self::with(State { seed, ..State::default() })
    }

    /// A copy that goes its own way: the disk as another process finds it when this one dies now.
    ///
    /// Everything written is there, and what is not synced can still be lost. The lock is free,
    /// no faults are planned and nobody observes. O(files), whatever their length.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.state().fork()
    }

    /// The disk as the next boot finds it when the power is cut now.
    ///
    /// Only this and the seed decide. Without faults, limits stay. O(files + unsynced bytes).
    #[must_use]
    pub fn power_cut(&self, survival: Survival, seed: u64) -> Self {
        let state = self.state();
        let mut random = Random(seed);
        let volume = state.volume.after_power_cut(survival, &mut random).unwrap_or_else(|error| {
            unreachable!("lengths and offsets were checked when they were first used: {error}")
        });
        Self::with(State { volume, seed: state.seed, ..State::default() })
    }

    /// A copy of the directory, as `cp -r` makes it: the same contents, but another fingerprint.
    #[must_use]
    pub fn copied(&self) -> Self {
        let state = self.state();
        Self::with(State { volume: state.volume.copy(), seed: state.seed, ..State::default() })
    }

    /// Plans a fault. Several may be planned; each counts for itself.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.push(Armed::new(fault));
    }

    /// Forgets all planned faults.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// How many operations have failed by plan.
    pub fn faults_hit(&self) -> u64 {
        self.state().faults_hit
    }

    /// How many reads asked for so many bytes.
    pub fn reads_of(&self, lens: Range<usize>) -> u64 {
        self.state().reads.range(lens).map(|(_, count)| count).sum()
    }

    /// How many bytes these reads asked for together.
    pub fn bytes_of_reads(&self, lens: Range<usize>) -> u64 {
        self.state().reads.range(lens).map(|(&len, count)| len as u64 * count).sum()
    }

    /// How many operations of these have been asked for.
    pub fn operations(&self, target: Target) -> u64 {
        let state = self.state();
        let counted = state.counts.iter().filter(|(operation, _)| target.includes(**operation));
        counted.map(|(_, count)| count).sum()
    }

    /// Limits how many bytes all files may take together, or lifts the limit.
    ///
    /// A write that does not fit writes what does and reports
    /// [`StorageFull`](io::ErrorKind::StorageFull). Cutting and removing files makes room.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().volume.capacity = bytes;
    }

    /// Calls `observer` right before each operation that [mutates](Operation::mutates).
    ///
    /// There is no need to look into the middle of one: [`Survival`] tears what is not synced.
    /// The observer may do what it likes with the fork that it gets, and nothing with this disk.
    pub fn observe(&self, observer: impl FnMut(Step) + Send + 'static) {
        self.state().observer = Some(Box::new(observer));
    }

    /// Ends [`observe`](Self::observe).
    pub fn stop_observing(&self) {
        let observer = self.state().observer.take();
        drop(observer);
    }

    /// All bytes of a file, as reads show them. Not counted, never failing by plan.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`].
    pub fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let file = state.volume.file(state.volume.inode(name)?)?;
        let len = usize::try_from(file.live.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        file.live.read_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Makes `bytes` the contents of a file, there before or not, all of it durable.
    ///
    /// # Errors
    ///
    /// If the name is not allowed.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        check_name(name)?;
        let mut contents = Pages::default();
        contents.write_at(bytes, 0)?;
        let mut state = self.state();
        let inode = state.volume.create(name)?;
        state.volume.file_mut(inode)?.settle(contents);
        state.volume.sync_dir();
        Ok(())
    }

    /// Flips one bit on the medium: bit `bit % 8`, from the lowest, of byte `bit / 8`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`], or [`io::ErrorKind::InvalidInput`] if the file is shorter.
    pub fn flip_bit(&self, name: &str, bit: u64) -> io::Result<()> {
        self.damage(name, |pages| {
            let mut byte = [0];
            if pages.read_at(&mut byte, bit / 8)? == 0 {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let [value] = byte;
            pages.write_at(&[value ^ (1 << (bit % 8))], bit / 8)
        })
    }

    /// Writes over bytes on the medium.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`].
    pub fn overwrite(&self, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.damage(name, |pages| pages.write_at(bytes, offset))
    }

    /// Cuts a file on the medium to `len` bytes, or extends it by zeros.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`].
    pub fn truncate_file(&self, name: &str, len: u64) -> io::Result<()> {
        self.damage(name, |pages| pages.set_len(len))
    }

    /// Makes the disk return `EIO` for each read that touches these bytes of a file, under whatever
    /// name. A file that is written in its place is another one.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`].
    pub fn make_unreadable(&self, name: &str, bytes: Range<u64>) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.volume.inode(name)?;
        state.unreadable.push((inode, bytes));
        Ok(())
    }

    fn damage(&self, name: &str, change: impl Fn(&mut Pages) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.volume.inode(name)?;
        state.volume.file_mut(inode)?.damage(change)
    }

    fn with(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `action`, or what the fault that is planned for it leaves of it.
    fn run<T>(
        &self,
        operation: Operation,
        subject: Subject<'_>,
        action: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        match state.begin(operation, subject) {
            None => action(&mut state),
            Some(fault) => {
                if fault.kind == FaultKind::Persisted {
                    action(&mut state)?;
                }
                Err(fault.error.into())
            }
        }
    }

    fn handle(&self, inode: Inode) -> Arc<FaultyFile> {
        *self.state().open.entry(inode).or_default() += 1;
        Arc::new(FaultyFile { disk: self.clone(), inode })
    }
}

impl State {
    fn fork(&self) -> FaultyDisk {
        FaultyDisk::with(Self {
            volume: self.volume.clone(),
            seed: self.seed,
            unreadable: self.unreadable.clone(),
            ..Self::default()
        })
    }

    /// Counts an operation and shows it to the observer; the fault that it is to fail with.
    fn begin(&mut self, operation: Operation, subject: Subject<'_>) -> Option<Fault> {
        if operation.mutates()
            && let Some(mut observer) = self.observer.take()
        {
            let mutating = self.counts.iter().filter(|(operation, _)| operation.mutates());
            let number = mutating.map(|(_, count)| count).sum();
            observer(Step { number, operation, name: self.name_of(subject), disk: self.fork() });
            self.observer = Some(observer);
        }
        *self.counts.entry(operation).or_default() += 1;
        // All of them count, also when the first of them hits.
        let mut hit = None;
        for armed in &mut self.faults {
            if armed.hits(operation) {
                hit = hit.or(Some(armed.fault));
            }
        }
        self.faults_hit += u64::from(hit.is_some());
        hit
    }

    fn name_of(&self, subject: Subject<'_>) -> String {
        match subject {
            Subject::Directory => String::new(),
            Subject::Name(name) => name.to_owned(),
            Subject::File(inode) => {
                let mut names = self.volume.names.iter();
                names.find(|(_, named)| **named == inode).map(|(name, _)| name.to_string())
            }
            .unwrap_or_default(),
        }
    }

    fn collect(&mut self) {
        let open = &self.open;
        self.volume.collect(|inode| open.contains_key(&inode));
    }

    fn write(&mut self, inode: Inode, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.begin(Operation::Write, Subject::File(inode)) {
            None => self.volume.write(inode, bytes, offset),
            Some(fault) => {
                let written = match fault.kind {
                    FaultKind::Failed => &[],
                    FaultKind::Persisted => bytes,
                    FaultKind::Partial => {
                        let cut = Random(self.seed ^ self.volume.changes).up_to(bytes.len() as u64);
                        usize::try_from(cut).ok().and_then(|cut| bytes.get(..cut)).unwrap_or(bytes)
                    }
                };
                self.volume.write(inode, written, offset)?;
                Err(fault.error.into())
            }
        }
    }

    fn sync(&mut self, inode: Inode) -> io::Result<()> {
        let fault = self.begin(Operation::Sync, Subject::File(inode));
        let file = self.volume.file_mut(inode)?;
        match fault {
            None => file.sync(),
            Some(Fault { kind: FaultKind::Persisted, error, .. }) => {
                file.sync()?;
                Err(error.into())
            }
            Some(Fault { error, .. }) => {
                file.fail_sync()?;
                Err(error.into())
            }
        }
    }

    fn fingerprint(&self, inode: Inode) -> Fingerprint {
        Fingerprint { inode, birth_nanos: Random(self.seed ^ inode.rotate_left(32)).next() }
    }
}

impl fmt::Debug for FaultyDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("FaultyDisk")
            .field("seed", &state.seed)
            .field("names", &state.volume.names)
            .field("faults", &state.faults)
            .finish_non_exhaustive()
    }
}

impl Disk for FaultyDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let inode =
            self.run(Operation::Open, Subject::Name(name), |state| state.volume.inode(name))?;
        Ok(self.handle(inode))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        check_name(name)?;
        let inode =
            self.run(Operation::Create, Subject::Name(name), |state| state.volume.create(name))?;
        Ok(self.handle(inode))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.run(Operation::List, Subject::Directory, |state| {
            Ok(state.volume.names.keys().map(ToString::to_string).collect())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        self.run(Operation::Rename, Subject::Name(from), |state| state.volume.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        self.run(Operation::Remove, Subject::Name(name), |state| state.volume.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.run(Operation::SyncDir, Subject::Directory, |state| {
            state.volume.sync_dir();
            state.collect();
            Ok(())
        })
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        let mut state = self.state();
        if let Some(fault) = state.begin(Operation::Lock, Subject::Directory) {
            // Whatever its kind: a lock that nobody knows of would never be let go.
            return Err(fault.error.into());
        }
        if state.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let inode = match state.volume.inode(LOCK_NAME) {
            Ok(inode) => inode,
            Err(_) => state.volume.create(LOCK_NAME)?,
        };
        state.locked = true;
        let fingerprint = state.fingerprint(inode);
        drop(state);
        Ok(Box::new(FaultyLock { disk: self.clone(), fingerprint }))
    }

    fn map(&self, name: &str, _in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        Ok(Loaded::read(&*self.open(name)?)?)
    }

    fn file_len(&self, name: &str) -> io::Result<u64> {
        check_name(name)?;
        self.run(Operation::Len, Subject::Name(name), |state| {
            Ok(state.volume.file(state.volume.inode(name)?)?.live.len())
        })
    }

    fn available(&self) -> io::Result<u64> {
        Ok(self.state().volume.available())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("faulty:{name}"))
    }
}

/// An open file. It stays readable under whatever name, and under none.
struct FaultyFile {
    disk: FaultyDisk,
    inode: Inode,
}

impl fmt::Debug for FaultyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyFile").field("inode", &self.inode).finish_non_exhaustive()
    }
}

impl DiskFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.run(Operation::Len, Subject::File(self.inode), |state| {
            Ok(state.volume.file(self.inode)?.live.len())
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.run(Operation::Read, Subject::File(self.inode), |state| {
            let end = offset.saturating_add(buffer.len() as u64);
            let touches = |(inode, bad): &(Inode, Range<u64>)| {
                *inode == self.inode && offset < bad.end && bad.start < end
            };
            if state.unreadable.iter().any(touches) {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            *state.reads.entry(buffer.len()).or_default() += 1;
            state.volume.file(self.inode)?.live.read_at(buffer, offset)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.state().write(self.inode, bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.run(Operation::Allocate, Subject::File(self.inode), |state| {
            state.volume.allocate(self.inode, len)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.run(Operation::SetLen, Subject::File(self.inode), |state| {
            state.volume.set_len(self.inode, len)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.state().sync(self.inode)
    }
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if let Some(count) = state.open.get_mut(&self.inode) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&self.inode);
                state.collect();
            }
        }
    }
}

#[derive(Debug)]
struct FaultyLock {
    disk: FaultyDisk,
    fingerprint: Fingerprint,
}

impl DirLock for FaultyLock {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        self.disk.state().locked = false;
    }
}
