//! Backups of a store that is in use, and stores made from them.
//!
//! ```text
//!   IDENTITY, with the mark    written; it says where the log ends, so that one cut short is noticed
//!   sealed segments            linked, or copied to another file system: they never change
//!   the last segment           copied up to the mark
//!   restart checkpoints        linked or copied; what the log lacks of them they are not used for
//! ```
//!
//! A backup is a store's directory like any other. Opened, it is a copy: it gets a node id and an
//! epoch of its own.

use std::{io, path::Path, path::PathBuf};

use stemedb_merkle::Hash;
use stemedb_wal::{
    disk::{Disk, DiskFile, FileDisk},
    identity::{CleanMark, Identity},
    log::Watermark,
    segment::{HEADER_LEN, SegmentHeader, parse_segment_name},
};

use super::{Head, Store, lock};
use crate::{
    error::{BackupError, RestoreError},
    options::Options,
};

/// Bytes that are copied at once.
const COPY_LEN: usize = 1 << 20;

/// What a backup came to.
#[derive(Clone, Copy, Debug)]
pub struct BackupReport {
    /// What the backup holds: with its set root it is restored.
    pub head: Head,
    /// Files that were linked, or were there from an earlier backup.
    pub files_shared: u64,
    /// Bytes that were copied.
    pub bytes_copied: u64,
}

impl Store {
    /// Makes a backup in a directory, or brings one up to date that an earlier call made there.
    /// Appends and reads go on meanwhile; what is acknowledged after the call began may be missing.
    ///
    /// Files that no longer change are linked where the file system can: the backup then takes
    /// little time and room, and does not survive that disk. On another file system they are copied.
    ///
    /// # Errors
    ///
    /// See [`BackupError`]. An earlier backup is then as it was, or newer in part and still whole.
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<BackupReport, BackupError> {
        let to = to.as_ref();
        let (head, reached) = {
            let folded = self.shared.trees.folded();
            (self.shared.trees.view_of(&folded), folded.reached)
        };
        let head = super::Snapshot::new(head).head();
        let identity = lock(&self.shared.identity).clone();
        let failed = |source| BackupError { to: to.to_path_buf(), source };
        let mut copier = Copier::new(&self.dir, to).map_err(failed)?;
        copier.all(&identity, reached).map_err(failed)?;
        Ok(BackupReport {
            head,
            files_shared: copier.files_shared,
            bytes_copied: copier.bytes_copied,
        })
    }
}

/// Makes a store from a backup, in a directory that holds none, and checks all of it: every body
/// against its id, and the set root against the one that is trusted. Returns what it holds.
///
/// # Errors
///
/// See [`RestoreError`]. The directory is then left without a store.
pub fn restore(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    root: &Hash,
    options: Options,
) -> Result<Head, RestoreError> {
    let (from, to) = (from.as_ref(), to.as_ref());
    if super::open::exists(to) {
        return Err(RestoreError::AlreadyThere { dir: to.to_path_buf() });
    }
    if !super::open::exists(from) {
        return Err(RestoreError::NoBackup { dir: from.to_path_buf() });
    }
    let failed = |source| RestoreError::Copy { from: from.into(), to: to.into(), source };
    let names = copy_all(from, to).map_err(failed)?;
    let options = Options { create: false, verify_on_open: true, ..options };
    let opened = (|| {
        let store = Store::open(to, options)?;
        if store.lacks_secret() {
            return Err(RestoreError::SecretMissing);
        }
        let head = store.head();
        if head.set_root != *root {
            return Err(RestoreError::OtherRoot { found: head.set_root.into() });
        }
        store.close()?;
        Ok(head)
    })();
    if opened.is_err() {
        remove(to, &names);
    }
    opened
}

/// Copies the files of a backup; returns their names. Nothing is linked: a store changes its files.
fn copy_all(from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let (source, target) = (FileDisk::open(from)?, FileDisk::create(to)?);
    let mut names = source.list()?;
    // Not the checkpoints: opening then reads, and checks, every body.
    names.retain(|name| is_kept(name) && !is_checkpoint(name));
    // Without IDENTITY it is no store: that comes last.
    names.sort_by_key(|name| name == IDENTITY);
    let copied = names.iter().try_for_each(|name| {
        let file = source.open(name)?;
        let len = file.len()?;
        copy(file.as_ref(), &target, name, len)
    });
    let copied = copied.and_then(|()| target.sync_dir());
    if let Err(error) = copied {
        remove(to, &names);
        return Err(error);
    }
    Ok(names)
}

/// Takes away what was made; what can't be removed is no store without `IDENTITY`.
fn remove(dir: &Path, names: &[String]) {
    let Ok(disk) = FileDisk::open(dir) else { return };
    let made = disk.list().unwrap_or_default();
    for name in made.iter().filter(|name| names.contains(name) || is_kept(name)) {
        let _ = disk.remove(name);
    }
    let _ = disk.remove("LOCK");
    let _ = disk.sync_dir();
}

const IDENTITY: &str = stemedb_wal::identity::IDENTITY_NAME;

/// Whether a file belongs into a backup.
fn is_kept(name: &str) -> bool {
    name == IDENTITY || is_checkpoint(name) || parse_segment_name(name).is_some()
}

fn is_checkpoint(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "ckpt")
}

struct Copier {
    from: FileDisk,
    to: FileDisk,
    files_shared: u64,
    bytes_copied: u64,
}

impl Copier {
    fn new(from: &Path, to: &Path) -> io::Result<Self> {
        let (from, to) = (FileDisk::open(from)?, FileDisk::create(to)?);
        Ok(Self { from, to, files_shared: 0, bytes_copied: 0 })
    }

    fn all(&mut self, identity: &Identity, reached: Watermark) -> io::Result<()> {
        self.check_target(identity)?;
        let names = self.from.list()?;
        let segments = names.iter().filter(|name| {
            parse_segment_name(name)
                .is_some_and(|(generation, _)| generation == identity.generation)
        });
        // Sorted by name is sorted by position.
        let mut segments = segments.peekable();
        while let Some(name) = segments.next() {
            let file = self.from.open(name)?;
            let first = header(file.as_ref())?.first_position;
            if first >= reached.position && first > 0 {
                break;
            }
            let next = match segments.peek() {
                Some(next) => Some(header(self.from.open(next)?.as_ref())?.first_position),
                None => None,
            };
            match next {
                Some(next) if next <= reached.position => self.share(name)?,
                _ => self.copy(file.as_ref(), name, reached.position - first)?,
            }
        }
        for name in names.iter().filter(|name| is_checkpoint(name)) {
            match self.share(name) {
                // A newer one has taken its place meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                shared => shared?,
            }
        }
        self.to.sync_dir()?;
        let mark = CleanMark { position: reached.position, next_index: reached.next_index };
        let identity = Identity { clean: Some(mark), ..identity.clone() };
        identity.save(&self.to).map_err(io::Error::other)?;
        self.remove_others(&names)
    }

    /// Only an earlier backup of the same log is written over.
    fn check_target(&self, identity: &Identity) -> io::Result<()> {
        let names = self.to.list()?;
        if !names.iter().any(|name| is_kept(name)) {
            return Ok(());
        }
        let other = || io::Error::other("there is another store, or the backup of another log");
        let there = Identity::load(&self.to).map_err(|_| other())?;
        let same = |identity: &Identity| (identity.store_id, identity.generation, identity.node_id);
        if same(&there) == same(identity) && !names.iter().any(|name| name == "LOCK") {
            Ok(())
        } else {
            Err(other())
        }
    }

    /// Links a file that no longer changes, or copies it.
    fn share(&mut self, name: &str) -> io::Result<()> {
        let len = self.from.open(name)?.len()?;
        if let Ok(there) = self.to.open(name) {
            if there.len()? == len {
                self.files_shared += 1;
                return Ok(());
            }
            // The last segment of the backup before, which has grown since.
            self.to.remove(name)?;
        }
        if self.from.link_to(name, &self.to).is_ok() {
            self.files_shared += 1;
            return Ok(());
        }
        let file = self.from.open(name)?;
        self.copy(file.as_ref(), name, len)
    }

    fn copy(&mut self, file: &dyn DiskFile, name: &str, len: u64) -> io::Result<()> {
        self.bytes_copied += len;
        copy(file, &self.to, name, len)
    }

    /// Removes checkpoints of earlier backups that the store no longer has.
    fn remove_others(&self, names: &[String]) -> io::Result<()> {
        for name in self.to.list()? {
            if is_checkpoint(&name) && !names.contains(&name) {
                self.to.remove(&name)?;
            }
        }
        self.to.sync_dir()
    }
}

fn header(file: &dyn DiskFile) -> io::Result<SegmentHeader> {
    let mut bytes = [0; HEADER_LEN];
    file.read_at(&mut bytes, 0)?;
    SegmentHeader::parse(&bytes).map_err(|_| io::Error::other("a segment's header is damaged"))
}

/// Copies the front of a file: written beside, synced, renamed.
fn copy(file: &dyn DiskFile, to: &FileDisk, name: &str, len: u64) -> io::Result<()> {
    let temporary: PathBuf = format!("{name}.tmp").into();
    let temporary = temporary.to_string_lossy();
    let target = to.create(&temporary)?;
    let mut buffer = vec![0; COPY_LEN];
    let mut at = 0;
    while at < len {
        let want = usize::try_from(len - at).unwrap_or(COPY_LEN).min(COPY_LEN);
        let part = buffer.get_mut(..want).unwrap_or_default();
        let read = file.read_at(part, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        target.write_at(part.get(..read).unwrap_or_default(), at)?;
        at += read as u64;
    }
    target.sync()?;
    to.rename(&temporary, name)
}
