//! Free space of the disk.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::status::DiskStatus;

/// The reserve is this, unless told otherwise, or a twentieth of the disk if that is less.
const RESERVE: u64 = 1 << 30;

/// Space of the disk that a store lies on, as of the last look.
#[derive(Debug)]
pub(super) struct DiskSpace {
    dir: PathBuf,
    free: AtomicU64,
    total: AtomicU64,
    reserve: AtomicU64,
}

impl DiskSpace {
    pub(super) fn new(dir: &Path, reserve: Option<u64>) -> Self {
        let dir = dir.to_path_buf();
        let space = Self { dir, free: u64::MAX.into(), total: 0.into(), reserve: 0.into() };
        space.look(reserve);
        space
    }

    /// Looks. What can't be found out stays as it was.
    pub(super) fn look(&self, reserve: Option<u64>) {
        // A store that lies on no disk, as in tests, has no directory.
        let (Ok(free), Ok(total)) = (fs2::available_space(&self.dir), fs2::total_space(&self.dir))
        else {
            return;
        };
        self.free.store(free, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        let reserve = reserve.unwrap_or_else(|| RESERVE.min(total / 20));
        self.reserve.store(reserve, Ordering::Relaxed);
    }

    /// Whether there is less than the reserve.
    pub(super) fn is_low(&self) -> bool {
        self.free.load(Ordering::Relaxed) < self.reserve.load(Ordering::Relaxed)
    }

    /// Whether the reserve is left free behind so many bytes more. Looks.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        if let Ok(free) = fs2::available_space(&self.dir) {
            self.free.store(free, Ordering::Relaxed);
        }
        let left = self.free.load(Ordering::Relaxed).saturating_sub(bytes);
        left >= self.reserve.load(Ordering::Relaxed)
    }

    pub(super) fn status(&self) -> DiskStatus {
        DiskStatus {
            free: self.free.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
            reserve: self.reserve.load(Ordering::Relaxed),
        }
    }
}
