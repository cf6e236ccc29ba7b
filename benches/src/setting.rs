//! How large a run is, and where its files are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::Failure;

/// Records of the large stores.
pub(crate) const LARGE: u64 = 10_000_000;

/// Sizes, durations and directories of one run.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    dir: PathBuf,
    quick: bool,
    full: bool,
    rounds: Option<usize>,
}

impl Setting {
    pub(crate) fn new(dir: &Path, quick: bool, full: bool, rounds: Option<usize>) -> Self {
        Self { dir: dir.to_path_buf(), quick, full, rounds }
    }

    /// How many vectors the measure of changed ones has.
    pub(crate) fn vectors(&self) -> u64 {
        if self.full { 1_000_000 } else { self.records(100_000) }
    }

    /// Rounds of a measure whose own number is `usual`.
    pub(crate) fn rounds(&self, usual: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { usual.min(2) } else { usual })
    }

    /// How long a measure with a time limit runs.
    pub(crate) fn span(&self) -> Duration {
        if self.quick { Duration::from_millis(700) } else { Duration::from_secs(4) }
    }

    /// `full` records, or a tenth of them in a quick run.
    pub(crate) fn records(&self, full: u64) -> u64 {
        if self.quick { full / 10 } else { full }
    }

    /// What the machine has less of than these bytes of disk and of memory; none if it has enough.
    pub(crate) fn lacks(&self, disk: u64, memory: u64) -> Option<&'static str> {
        let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
            Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
        });
        // Memory of an unknown size counts as none.
        if fs2::available_space(&self.dir).is_ok_and(|free| free < disk) {
            return Some("disk");
        }
        available.is_none_or(|bytes| bytes < memory).then_some("memory")
    }

    /// An empty directory for one contender of one round.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.dir.join("fresh").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        settle();
        Ok(dir)
    }

    /// A directory that `fill` fills once, for this run and later ones.
    pub(crate) fn prepared(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), Failure>,
    ) -> Result<PathBuf, Failure> {
        let size = if self.quick { "quick" } else { "full" };
        let dir = self.dir.join("prepared").join(format!("{name}-{size}"));
        let whole = dir.with_extension("whole");
        if !whole.exists() {
            if dir.exists() {
                fs::remove_dir_all(&dir)?;
            }
            fs::create_dir_all(&dir)?;
            eprintln!("   preparing {}", dir.display());
            fill(&dir)?;
            fs::write(&whole, b"")?;
            settle();
        }
        Ok(dir)
    }

    /// Removes what `fresh` left.
    pub(crate) fn clean(&self) -> Result<(), Failure> {
        let dir = self.dir.join("fresh");
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        Ok(())
    }
}

/// Waits until the disk has written what earlier contenders left behind, so that their pages
/// don't pay into the syncs of the next one.
pub(crate) fn settle() {
    // A machine without sync(1) only measures with more noise.
    let _ = Command::new("sync").status();
}

/// Reads all files of `dir` once, so that what other contenders did does not decide how much of
/// them the system still has in memory.
pub(crate) fn warm(dir: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(dir)? {
        std::io::copy(&mut fs::File::open(entry?.path())?, &mut std::io::sink())?;
    }
    Ok(())
}

/// Bytes of all files below `dir`, as they are allocated on the disk.
pub(crate) fn disk_bytes(dir: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes +=
            if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(bytes)
}
