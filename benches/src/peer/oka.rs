//! okaywal: entries of many chunks, segments that are recycled.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use okaywal::{Configuration, LogVoid};

use crate::Failure;
use crate::body;
use crate::contest::Sample;
use crate::tasks;

/// Segments of 64 MiB that are recycled: its default of 1 MiB spends half its time on renames.
fn config(dir: &Path) -> Configuration {
    Configuration::default_for(dir)
        .preallocate_bytes(64 << 20)
        .checkpoint_after_bytes(60 << 20)
        .buffer_bytes(64 << 10)
}

/// One thread, an entry of `batch` chunks a commit.
pub(crate) fn batches(dir: &Path, span: Duration, batch: u64) -> Result<Sample, Failure> {
    let log = config(dir).open(LogVoid)?;
    let sample = tasks::batches(span, batch, |first| {
        let mut entry = log.begin_entry()?;
        for number in first..first + batch {
            entry.write_chunk(&body::body(number))?;
        }
        entry.commit()?;
        Ok(())
    })?;
    log.shutdown()?;
    Ok(sample)
}

/// 64 threads, an entry of one chunk each.
pub(crate) fn appenders(dir: &Path, span: Duration) -> Result<Sample, Failure> {
    let log = Arc::new(config(dir).open(LogVoid)?);
    tasks::blocking_appenders(span, |_| {
        let log = Arc::clone(&log);
        move |number| {
            let mut entry = log.begin_entry()?;
            entry.write_chunk(&body::body(number))?;
            entry.commit()?;
            Ok(())
        }
    })
}
