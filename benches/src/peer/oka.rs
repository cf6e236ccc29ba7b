//! okaywal: entries of many chunks, segments that are recycled.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use okaywal::{Configuration, LogVoid};

use crate::Failure;
use crate::body;
use crate::contest::Sample;
use crate::tasks;

/// Its defaults, segments of 1 MiB that are recycled: segments of 64 MiB made it a fifth slower
/// here, as it never reaches the second use of any.
fn config(dir: &Path) -> Configuration {
    Configuration::default_for(dir)
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
