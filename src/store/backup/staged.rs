//! A directory that becomes a store only at the end.

use std::{io, path::PathBuf, sync::Arc};

use stemedb_wal::{
    disk::{Bytes, DirLock, Disk, DiskFile},
    identity::IDENTITY_NAME,
};

/// What `IDENTITY` is called until all of the store is checked.
pub(super) const STAGED_NAME: &str = "RESTORING";

/// A directory in which the store's identity has another name, so that nothing else takes it for a
/// store.
#[derive(Clone, Debug)]
pub(super) struct Staged(pub(super) Arc<dyn Disk>);

fn staged(name: &str) -> &str {
    if name == IDENTITY_NAME { STAGED_NAME } else { name }
}

impl Staged {
    /// Makes a store of it, durably.
    pub(super) fn reveal(&self) -> io::Result<()> {
        self.0.rename(STAGED_NAME, IDENTITY_NAME)?;
        self.0.sync_dir()
    }
}

impl Disk for Staged {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(staged(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.0.create(staged(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.0.list()?;
        for name in names.iter_mut().filter(|name| *name == STAGED_NAME) {
            IDENTITY_NAME.clone_into(name);
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(staged(from), staged(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(staged(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        self.0.lock()
    }

    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        self.0.map(staged(name), in_place)
    }

    fn available(&self) -> io::Result<u64> {
        self.0.available()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path(name)
    }
}
