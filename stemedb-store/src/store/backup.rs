//! Backups of a store that is in use.
//!
//! ```text
//!   sealed segments            linked, or copied to another file system: they never change
//!   the last segment           copied up to where the log is durable
//!   IDENTITY                   last, with a mark of where the log ends: what is cut off is noticed
//! ```
//!
//! A directory without `IDENTITY` is a backup that was not finished. Restart checkpoints and tiles
//! are left out: restoring reads every body, and rebuilds both.

mod restore;

use std::{io, path::Path, sync::Arc};

use stemedb_wal::{
    Position,
    disk::{Disk, DiskFile, FileDisk, Fingerprint, is_temporary},
    identity::{IDENTITY_NAME, Identity},
    log::Watermark,
    remote::{LogDir, Opened, segment_of_stub, stub_name},
    sealed::{HEADER_LEN, SegmentHeader, parse_segment_name},
};

pub use self::restore::restore;

use super::{Progress, Snapshot, StoreReader, lock, occupied::occupants};
use crate::Head;
use crate::error::{BackupError, OpenError, ReadError};

/// Bytes that are copied at once.
const COPY_LEN: usize = 1 << 20;

/// What a backup came to.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BackupReport {
    /// What the backup holds: with its set root it is restored.
    pub head: Head,
    /// Files that the store and the backup share.
    pub files_linked: u64,
    /// How many bytes they have.
    pub bytes_linked: u64,
    /// Files that were copied.
    pub files_copied: u64,
    /// How many bytes that were.
    pub bytes_copied: u64,
    /// Of how many segments the bodies are not in the backup: they are only in an archive, and
    /// the backup needs that, as the store does.
    pub segments_remote: u64,
}

impl StoreReader {
    /// Makes a backup in a directory that is empty, or missing and then made. Appends and reads go
    /// on meanwhile. All that was acknowledged when the call began is in it; of a reader that
    /// is opened alone, all that it shows: [refresh](Self::refresh) it first.
    ///
    /// Files that no longer change are linked where the file system can: the backup then takes
    /// little time and room, and does not survive that disk. On another file system they are
    /// copied. All is durable when this returns.
    ///
    /// # Errors
    ///
    /// See [`BackupError`]. What was made is removed again.
    pub fn backup(
        &self,
        to: impl AsRef<Path>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<BackupReport, BackupError> {
        // The files are found by their path.
        if let Err(failure) = self.reader.check_place()
            && failure.displaced().is_some()
        {
            return Err(OpenError::Disk(failure).into());
        }
        let (view, reached) = {
            let folded = self.shared.index.folded().map_err(ReadError::from)?;
            (self.shared.index.view_of(&folded), folded.reached)
        };
        let head = Snapshot::new(view).head();
        let identity = lock(&self.shared.identity).clone();
        let copied = make(&self.dir, to.as_ref(), &identity, reached, progress)?;
        Ok(copied.report(head))
    }
}

/// What was linked and copied.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    files_linked: u64,
    bytes_linked: u64,
    files_copied: u64,
    bytes_copied: u64,
    segments_remote: u64,
}

impl Amount {
    fn report(self, head: Head) -> BackupReport {
        let Self { files_linked, bytes_linked, files_copied, bytes_copied, segments_remote } = self;
        BackupReport {
            head,
            files_linked,
            bytes_linked,
            files_copied,
            bytes_copied,
            segments_remote,
        }
    }
}

/// Makes the backup of a log that is durable up to `reached`.
fn make(
    from: &Path,
    to: &Path,
    identity: &Identity,
    reached: Watermark,
    progress: &mut dyn FnMut(Progress),
) -> Result<Amount, BackupError> {
    let failed = |source| BackupError::Io { to: to.to_path_buf(), source };
    let source = FileDisk::open_read_only(from).map_err(failed)?;
    let target = FileDisk::create(to).map_err(failed)?;
    check_empty(&target)?;
    let mut copier = Copier { source, target, copied: Amount::default(), progress, reached };
    let made = copier.segments(identity).and_then(|()| {
        // No directory has this fingerprint: whatever is made of it is another node.
        let fingerprint = Fingerprint::default();
        let marked = Identity { clean: Some(reached), fingerprint, ..identity.clone() };
        marked.save(&copier.target).map_err(|error| failed(io::Error::other(error)))
    });
    if let Err(error) = made {
        remove_all(&copier.target);
        return Err(error);
    }
    Ok(copier.copied)
}

/// A backup is made where nothing is: neither another one nor a store is written over.
fn check_empty(target: &FileDisk) -> Result<(), BackupError> {
    let to = target.dir().to_path_buf();
    let names = match occupants(target) {
        Err(source) => return Err(BackupError::Io { to, source }),
        Ok(names) if names.is_empty() => return Ok(()),
        Ok(names) => names,
    };
    let unfinished = !names.iter().any(|name| name == IDENTITY_NAME)
        && names.iter().all(|name| is_made_here(name));
    Err(BackupError::NotEmpty { to, unfinished })
}

/// Whether a file is one that a backup has made.
fn is_made_here(name: &str) -> bool {
    name == IDENTITY_NAME || is_segment(name) || is_temporary(name)
}

/// Whether a file is a segment, or the stub of one.
fn is_segment(name: &str) -> bool {
    parse_segment_name(name).is_some() || segment_of_stub(name).is_some()
}

/// Takes away what was made, the identity first: without it nothing counts as a backup.
fn remove_all(target: &FileDisk) {
    let mut names = target.list().unwrap_or_default();
    names.retain(|name| is_made_here(name));
    names.sort_by_key(|name| !name.starts_with(IDENTITY_NAME));
    for name in &names {
        // What can't be removed is told by the next attempt.
        let _ = target.remove(name);
    }
    let _ = target.sync_dir();
}

struct Copier<'a> {
    source: FileDisk,
    target: FileDisk,
    copied: Amount,
    progress: &'a mut dyn FnMut(Progress),
    /// Up to where the log is copied.
    reached: Watermark,
}

impl Copier<'_> {
    fn segments(&mut self, identity: &Identity) -> Result<(), BackupError> {
        // Segments that were dropped, also in the meantime, are copied as what is kept of them.
        let source = LogDir::new(Arc::new(self.source.clone()), None);
        let mut names = source.list_segments().map_err(|source| self.failed(source))?;
        names.retain(|name| {
            let parsed = parse_segment_name(name);
            parsed.is_some_and(|(generation, _)| generation == identity.generation)
        });
        // Sorted by name is sorted by position.
        let mut expected = 0;
        for name in names {
            if expected >= self.reached.position.get() && expected > 0 {
                break;
            }
            let file = source.open_segment(&name).map_err(|source| self.failed(source))?;
            let len = file.len().map_err(|source| self.failed(source))?;
            let first = self.header(&file, &name)?.first_position;
            if first != expected {
                break;
            }
            // Any position may be in a header.
            expected = first.saturating_add(len);
            // One that ends below what is durable is sealed. Only the last one does not.
            match (file, stub_name(&name)) {
                (Opened::Remote(_), Some(stub)) => {
                    let file = self.source.open(&stub).map_err(|source| self.failed(source))?;
                    let len = file.len().map_err(|source| self.failed(source))?;
                    self.share(&*file, &stub, len)?;
                    self.copied.segments_remote += 1;
                }
                // Only segments have stubs.
                (Opened::Remote(_), None) => {}
                (Opened::Local(file), _) if expected < self.reached.position.get() => {
                    self.share(&*file, &name, len)?;
                }
                (Opened::Compressed(file), _) if expected < self.reached.position.get() => {
                    let file = file.stored();
                    let len = file.len().map_err(|source| self.failed(source))?;
                    self.share(&**file, &name, len)?;
                }
                (file, _) => {
                    let len = self.reached.position - Position(first);
                    self.copy(&|buffer, at| file.read_at(buffer, at), &name, len)?;
                }
            }
        }
        if expected < self.reached.position.get() {
            return Err(BackupError::Incomplete {
                dir: self.source.dir().to_path_buf(),
                position: Position(expected),
            });
        }
        self.target.sync_dir().map_err(|source| self.failed(source))
    }

    fn header(&self, file: &Opened, name: &str) -> Result<SegmentHeader, BackupError> {
        let mut bytes = [0; HEADER_LEN];
        let read = file.read_at(&mut bytes, 0).map_err(|source| self.failed(source))?;
        SegmentHeader::parse(bytes.split_at(read).0)
            .map_err(|_| BackupError::Damaged { path: self.source.path(name) })
    }

    /// Links a file that no longer changes, or copies it.
    fn share(&mut self, file: &dyn DiskFile, name: &str, len: u64) -> Result<(), BackupError> {
        if self.source.link_to(name, &self.target).is_ok() {
            self.copied.files_linked += 1;
            self.copied.bytes_linked += len;
            self.tell();
            return Ok(());
        }
        // Another file system, or one without links, or one with too many of this file; or it was
        // dropped just now.
        self.copy(&|buffer, at| file.read_at(buffer, at), name, len)
    }

    fn copy(&mut self, read_at: &ReadAt<'_>, name: &str, len: u64) -> Result<(), BackupError> {
        let before = self.copied.bytes_copied;
        let Self { target, copied, progress, reached, .. } = self;
        let told = &mut |done: u64| {
            copied.bytes_copied = before + done;
            let done = copied.bytes_linked + copied.bytes_copied;
            progress(Progress { done, total: reached.position.get() });
        };
        copy(read_at, target, name, len, told).map_err(|source| self.failed(source))?;
        self.copied.files_copied += 1;
        Ok(())
    }

    fn tell(&mut self) {
        let done = self.copied.bytes_linked + self.copied.bytes_copied;
        (self.progress)(Progress { done, total: self.reached.position.get() });
    }

    fn failed(&self, source: io::Error) -> BackupError {
        BackupError::Io { to: self.target.dir().to_path_buf(), source }
    }
}

/// Reads bytes of a file at an offset; returns how many.
type ReadAt<'a> = dyn Fn(&mut [u8], u64) -> io::Result<usize> + 'a;

/// Copies the front of a file: written beside, synced, renamed.
fn copy(
    read_at: &ReadAt<'_>,
    to: &dyn Disk,
    name: &str,
    len: u64,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    let target = to.create(&temporary)?;
    let mut buffer = vec![0; COPY_LEN];
    let mut at = 0;
    while at < len {
        let want = usize::try_from(len - at).map_or(COPY_LEN, |left| left.min(COPY_LEN));
        let part = buffer.split_at_mut(want).0;
        let read = read_at(part, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        target.write_at(part.split_at(read).0, at)?;
        at += read as u64;
        progress(at);
    }
    target.sync()?;
    to.rename(&temporary, name)
}
