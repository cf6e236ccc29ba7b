//! Changes of files with certificates and tokens, found by looking at them now and then.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Files, and how they were when they were last looked at.
#[derive(Debug)]
pub(super) struct FileWatch {
    paths: Vec<PathBuf>,
    /// As the last change that was told left them.
    told: Vec<Stamp>,
    /// As the last look found them.
    seen: Vec<Stamp>,
}

/// What differs once a file has changed, or another has its name: time of the change, length and
/// inode; `None` without a file.
type Stamp = Option<(SystemTime, u64, u64)>;

impl FileWatch {
    /// Begins with the files as they are.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let stamps = stamps(&paths);
        Self { paths, told: stamps.clone(), seen: stamps }
    }

    /// Follows other files from now on; a change of those that it follows already is still told.
    pub(super) fn follow(&mut self, paths: Vec<PathBuf>) {
        if paths != self.paths {
            *self = Self { told: Vec::new(), seen: Vec::new(), paths };
        }
    }

    /// Ready once files have changed and one interval passed without a further change: a
    /// certificate and its key are two files. Goes on where it was when it is dropped and called
    /// again.
    pub(super) async fn changed(&mut self) {
        loop {
            sleep(INTERVAL).await;
            let paths = self.paths.clone();
            // Files may lie on another machine.
            let Ok(now) = spawn_blocking(move || stamps(&paths)).await else { continue };
            let is_settled = now == self.seen;
            self.seen = now;
            if is_settled && self.seen != self.told {
                self.told.clone_from(&self.seen);
                return;
            }
        }
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    paths.iter().map(stamp).collect()
}
