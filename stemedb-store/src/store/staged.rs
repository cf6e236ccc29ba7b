//! A directory that becomes a store only at the end.

use std::{io, path::PathBuf, sync::Arc};

use stemedb_wal::{
    disk::{Bytes, DirLock, Disk, DiskFile},
    identity::IDENTITY_NAME,
};

/// A directory in which the store's identity has another name, so that nothing else takes it for a
/// store.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The directory.
    pub disk: Arc<dyn Disk>,
    /// What `IDENTITY` is called until all of the store is checked.
    pub name: &'static str,
}

/// Why a directory is not a store, or not durably.
#[derive(Debug)]
pub enum RevealError {
    /// It is none, and can be gone on with.
    Hidden(io::Error),
    /// It is one, and may not be one after a power cut.
    NotSynced(io::Error),
}

impl Staged {
    /// Makes a store of it, durably.
    ///
    /// # Errors
    ///
    /// See [`RevealError`].
    pub fn reveal(&self) -> Result<(), RevealError> {
        let renamed = self.disk.rename(self.name, IDENTITY_NAME);
        let is_renamed = renamed.is_ok();
        renamed.and_then(|()| self.disk.sync_dir()).map_err(|source| {
            // It may be a store already. Its identity goes back under the name by which the next
            // attempt knows that all of this was made by this one.
            if self.disk.rename(IDENTITY_NAME, self.name).is_ok() {
                return RevealError::Hidden(source);
            }
            let is_store = match self.disk.open(IDENTITY_NAME) {
                Ok(_) => true,
                Err(error) => is_renamed && error.kind() != io::ErrorKind::NotFound,
            };
            if is_store { RevealError::NotSynced(source) } else { RevealError::Hidden(source) }
        })
    }

    fn name<'a>(&self, name: &'a str) -> &'a str {
        if name == IDENTITY_NAME { self.name } else { name }
    }
}

impl Disk for Staged {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(self.name(name))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(self.name(name))
    }

    fn create_private(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_private(self.name(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = self.disk.list()?;
        for name in names.iter_mut().filter(|name| *name == self.name) {
            IDENTITY_NAME.clone_into(name);
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(self.name(from), self.name(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(self.name(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn DirLock>> {
        self.disk.lock()
    }

    fn map(&self, name: &str, in_place: bool) -> io::Result<Arc<dyn Bytes>> {
        self.disk.map(self.name(name), in_place)
    }

    fn available(&self) -> io::Result<u64> {
        self.disk.available()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }
}
