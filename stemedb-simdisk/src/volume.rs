//! What a faulty disk holds: what reads show, what is durable, and all that lies between.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    sync::Arc,
};
use stemedb_wal::disk::{LOCK_NAME, SECTOR_LEN, pages::Pages};

pub(super) const SECTOR: u64 = SECTOR_LEN as u64;

/// The number of a file, which stays the same under every name. Never used twice.
pub(super) type Inode = u64;

pub(super) type Names = BTreeMap<Arc<str>, Inode>;

/// A directory and its files. Clones share everything until one of them changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Volume {
    pub(super) files: BTreeMap<Inode, Arc<File>>,
    pub(super) names: Arc<Names>,
    pub(super) durable_names: Arc<Names>,
    /// What was done to the names since the last directory sync, in order.
    pub(super) renames: Vec<NameChange>,
    /// Counts changes of files and names alike: their order across the disk.
    pub(super) changes: u64,
    pub(super) last_inode: Inode,
    /// How many bytes all files may take, if that is limited.
    pub(super) capacity: Option<u64>,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// What reads show.
    pub(super) live: Pages,
    /// What survives whatever happens.
    pub(super) durable: Pages,
    /// What was done since the last sync, successful or not, in order.
    pub(super) pending: Vec<Change>,
    /// Sectors that a failed sync left unknown, as they were then: later syncs take them for clean.
    pub(super) rewrite_needed: BTreeMap<u64, Arc<[u8]>>,
    /// How far room is taken, in bytes.
    reserved: u64,
}

/// A change of a file.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) number: u64,
    pub(super) kind: ChangeKind,
}

#[derive(Clone, Debug)]
pub(super) enum ChangeKind {
    Write { offset: u64, bytes: Arc<[u8]> },
    SetLen { from: u64, to: u64 },
}

/// A change of the directory.
#[derive(Clone, Debug)]
pub(super) struct NameChange {
    pub(super) number: u64,
    pub(super) kind: NameChangeKind,
}

#[derive(Clone, Debug)]
pub(super) enum NameChangeKind {
    Link(Arc<str>, Inode),
    Rename(Arc<str>, Arc<str>),
    Remove(Arc<str>),
}

impl Volume {
    pub(super) fn inode(&self, name: &str) -> io::Result<Inode> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn file(&self, inode: Inode) -> io::Result<&File> {
        self.files.get(&inode).map(|file| &**file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn file_mut(&mut self, inode: Inode) -> io::Result<&mut File> {
        self.files.get_mut(&inode).map(Arc::make_mut).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<Inode> {
        if let Ok(inode) = self.inode(name) {
            self.set_len(inode, 0)?;
            return Ok(inode);
        }
        self.last_inode += 1;
        let inode = self.last_inode;
        self.files.insert(inode, Arc::default());
        self.change_names(NameChangeKind::Link(name.into(), inode));
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.inode(from)?;
        self.change_names(NameChangeKind::Rename(from.into(), to.into()));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.inode(name)?;
        self.change_names(NameChangeKind::Remove(name.into()));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self) {
        self.renames.clear();
        self.durable_names = Arc::clone(&self.names);
    }

    /// Writes; on a full disk, as much as fits.
    pub(super) fn write(&mut self, inode: Inode, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let reserved = self.file(inode)?.reserved;
        let end_fitting = reserved.saturating_add(self.available());
        let fitting = usize::try_from(end_fitting.saturating_sub(offset)).unwrap_or(usize::MAX);
        let written = bytes.get(..fitting).unwrap_or(bytes);
        if !written.is_empty() {
            let number = self.next_change();
            let file = self.file_mut(inode)?;
            file.live.write_at(written, offset)?;
            file.reserved = reserved.max(end.min(end_fitting));
            let kind = ChangeKind::Write { offset, bytes: written.into() };
            file.pending.push(Change { number, kind });
        }
        if written.len() < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    pub(super) fn allocate(&mut self, inode: Inode, len: u64) -> io::Result<()> {
        let file = self.file(inode)?;
        let (live_len, reserved) = (file.live.len(), file.reserved);
        if len.saturating_sub(reserved) > self.available() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if live_len < len {
            self.set_len(inode, len)?;
        }
        self.file_mut(inode)?.reserved = reserved.max(len);
        Ok(())
    }

    pub(super) fn set_len(&mut self, inode: Inode, to: u64) -> io::Result<()> {
        let number = self.next_change();
        let file = self.file_mut(inode)?;
        let from = file.live.len();
        file.live.set_len(to)?;
        file.reserved = file.reserved.min(to);
        file.pending.push(Change { number, kind: ChangeKind::SetLen { from, to } });
        Ok(())
    }

    /// How many bytes may still be taken.
    pub(super) fn available(&self) -> u64 {
        let Some(capacity) = self.capacity else { return u64::MAX };
        let named = self.names.values().filter_map(|inode| self.files.get(inode));
        capacity.saturating_sub(named.map(|file| file.reserved).sum())
    }

    /// Forgets files that nothing names any more, nor holds open.
    pub(super) fn collect(&mut self, open: impl Fn(Inode) -> bool) {
        let linked = self.renames.iter().filter_map(|change| match change.kind {
            NameChangeKind::Link(_, inode) => Some(inode),
            _ => None,
        });
        let named: BTreeSet<Inode> = linked
            .chain(self.names.values().copied())
            .chain(self.durable_names.values().copied())
            .collect();
        self.files.retain(|inode, _| named.contains(inode) || open(*inode));
    }

    /// As a copy of the directory would be: same contents, but `LOCK` is another file.
    pub(super) fn copy(&self) -> Self {
        let mut copy = self.clone();
        if let Ok(inode) = self.inode(LOCK_NAME) {
            copy.last_inode += 1;
            if let Some(file) = copy.files.remove(&inode) {
                copy.files.insert(copy.last_inode, file);
            }
            Arc::make_mut(&mut copy.names).insert(LOCK_NAME.into(), copy.last_inode);
        }
        for file in copy.files.values_mut().map(Arc::make_mut) {
            file.settle(file.live.clone());
        }
        copy.sync_dir();
        copy.collect(|_| false);
        copy
    }

    fn change_names(&mut self, kind: NameChangeKind) {
        kind.apply(Arc::make_mut(&mut self.names));
        let number = self.next_change();
        self.renames.push(NameChange { number, kind });
    }

    fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }
}

impl NameChangeKind {
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Link(name, inode) => {
                names.insert(Arc::clone(name), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(Arc::clone(to), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl File {
    /// Makes all durable but what an earlier sync failed to write and nobody wrote again.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        for change in &self.pending {
            let written = match &change.kind {
                ChangeKind::Write { .. } => change.kind.sectors(),
                // What was cut off before is gone with the length, which is synced now.
                ChangeKind::SetLen { from, to } => {
                    from.min(to) / SECTOR..from.max(to).div_ceil(SECTOR)
                }
            };
            self.rewrite_needed.retain(|sector, _| !written.contains(sector));
        }
        self.pending.clear();
        let mut durable = self.live.clone();
        for sector in self.rewrite_needed.keys() {
            copy_sector(&self.durable, &mut durable, *sector)?;
        }
        self.durable = durable;
        Ok(())
    }

    /// Marks all that was written since the last sync as clean, though it was not written out.
    ///
    /// This is what Linux file systems do: see Rebello et al., "Can Applications Recover from
    /// fsync Failures?", USENIX ATC 2020. The length is not forgotten: it goes with the next
    /// successful sync.
    pub(super) fn fail_sync(&mut self) -> io::Result<()> {
        for sector in touched(&self.pending) {
            let mut bytes = [0; SECTOR_LEN];
            // Behind the end there is nothing to read: what is cut off becomes zeros.
            self.live.read_at(&mut bytes, sector * SECTOR)?;
            self.rewrite_needed.insert(sector, bytes.into());
        }
        self.pending.clear();
        Ok(())
    }

    /// Makes `contents` what is read and what is durable.
    pub(super) fn settle(&mut self, contents: Pages) {
        self.reserved = contents.len();
        self.durable = contents.clone();
        self.live = contents;
        self.pending.clear();
        self.rewrite_needed.clear();
    }

    /// Changes bytes on the medium itself: both what is read and what is durable.
    pub(super) fn damage(
        &mut self,
        change: impl Fn(&mut Pages) -> io::Result<()>,
    ) -> io::Result<()> {
        change(&mut self.live)?;
        change(&mut self.durable)
    }
}

impl ChangeKind {
    /// The sectors whose bytes may differ before and after.
    pub(super) fn sectors(&self) -> Range<u64> {
        match self {
            Self::Write { offset, bytes } => {
                offset / SECTOR..(offset + bytes.len() as u64).div_ceil(SECTOR)
            }
            // Growing zeros what is behind the former end in its sector.
            Self::SetLen { from, to } => from.min(to) / SECTOR..from.div_ceil(SECTOR),
        }
    }
}

fn touched(changes: &[Change]) -> BTreeSet<u64> {
    changes.iter().flat_map(|change| change.kind.sectors()).collect()
}

/// Copies what `from` holds of a sector, zeros behind its end, as far as `to` reaches.
fn copy_sector(from: &Pages, to: &mut Pages, sector: u64) -> io::Result<()> {
    let start = sector * SECTOR;
    let mut bytes = [0; SECTOR_LEN];
    from.read_at(&mut bytes, start)?;
    write_within(to, &bytes, start)
}

/// Writes as much of `bytes` as the file is long.
pub(super) fn write_within(to: &mut Pages, bytes: &[u8], offset: u64) -> io::Result<()> {
    let room = usize::try_from(to.len().saturating_sub(offset)).unwrap_or(usize::MAX);
    to.write_at(bytes.get(..room).unwrap_or(bytes), offset)
}
