//! Compresses segments of the log once they are sealed.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use stemedb_wal::{Position, background::lower_priority, error::DiskError, sealed::Compression};

use super::{Progress, Shared, Store, background::Stop, lock};
use crate::error::CompressError;

/// How often is looked whether a segment was sealed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after a segment could not be compressed it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The thread, and how it is stopped.
#[derive(Debug)]
pub(super) struct Compressor {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl Compressor {
    /// Starts the thread, if segments are to be compressed.
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Option<Self>> {
        if shared.options.compression == Compression::None {
            return Ok(None);
        }
        let stop = Arc::new(Stop::default());
        let work = {
            let (shared, stop) = (Arc::clone(shared), Arc::clone(&stop));
            move || {
                lower_priority();
                compress_when_sealed(&shared, &stop);
            }
        };
        let thread = thread::Builder::new().name("stemedb-compress".into()).spawn(work)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Ends the thread. A segment that it works on stays as it is.
    pub(super) fn stop(self) {
        self.stop.ask();
        // It can only have panicked, and has then been reported by the panic itself.
        let _ = self.thread.join();
    }
}

fn compress_when_sealed(shared: &Shared, stop: &Stop) {
    // All segments that begin before it were looked at.
    let mut seen = Position(0);
    while !stop.is_asked() {
        let compressed = compress_from(shared, &mut seen, &|| !stop.is_asked());
        lock(&shared.upkeep).compression_failed(compressed.as_ref().err());
        stop.wait(if compressed.is_ok() { LOOK_EVERY } else { RETRY_AFTER });
    }
}

/// Compresses the sealed segments that begin at a position or behind it, as long as it goes on.
fn compress_from(
    shared: &Shared,
    seen: &mut Position,
    goes_on: &dyn Fn() -> bool,
) -> Result<(), DiskError> {
    let mut sealed = shared.reader.sealed_segments();
    sealed.retain(|segment| segment.first_position >= *seen);
    for segment in sealed {
        shared.reader.compress_sealed(&segment.name, shared.options.compression, goes_on)?;
        if !goes_on() {
            break;
        }
        *seen = Position(segment.first_position.get() + segment.len);
    }
    Ok(())
}

/// What [`Store::compress`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompressReport {
    /// How many segments were compressed.
    pub segments: u64,
    /// How many bytes of the disk that freed, beside what backups have links to.
    pub bytes_freed: u64,
}

impl Store {
    /// Compresses the sealed segments of the log that are not, and would be shorter by an eighth at
    /// least. Appends and reads go on meanwhile. O(bytes of the log).
    ///
    /// With [`Options::compression`](crate::Options::compression) a thread does it.
    ///
    /// # Errors
    ///
    /// See [`CompressError`]. What is compressed by then stays so.
    pub fn compress(
        &self,
        compression: Compression,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<CompressReport, CompressError> {
        if self.is_read_only() {
            return Err(CompressError::ReadOnly);
        }
        let mut report = CompressReport::default();
        let sealed = self.reader.sealed_segments();
        let total = sealed.iter().map(|segment| segment.len).sum();
        let mut done = 0;
        for segment in &sealed {
            let freed = self.reader.compress_sealed(&segment.name, compression, &|| true)?;
            report.segments += u64::from(freed.is_some());
            report.bytes_freed += freed.unwrap_or_default();
            done += segment.len;
            progress(Progress { done, total });
        }
        Ok(report)
    }
}
