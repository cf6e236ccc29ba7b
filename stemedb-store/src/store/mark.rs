//! The thread that writes down in `IDENTITY` how far the log is durable.
//!
//! The mark that the log itself has goes with the file that it is in: of a last segment that was
//! replaced by an older version of itself, nothing in it says so. `IDENTITY` says it, at most once
//! a second, and in a thread of its own: no append waits for it. The thread also checks that the
//! directory is still there.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use stemedb_wal::identity::IdentityError;
use stemedb_wal::log::Watermark;

use super::{Shared, background::Stop, lock};

/// How much time there is between two marks at least.
const INTERVAL: Duration = Duration::from_secs(1);

/// How much time there is at most between two tries to write one, where the disk refuses it.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(64);

/// The thread, and how it is stopped.
#[derive(Debug)]
pub(super) struct Marker {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl Marker {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let work = {
            let (shared, stop) = (Arc::clone(shared), Arc::clone(&stop));
            move || mark(&shared, &stop)
        };
        let thread = thread::Builder::new().name("stemedb-mark".into()).spawn(work)?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread, after the mark that it may be writing.
    pub(super) fn stop(self) {
        self.stop.ask();
        // It can only have panicked, and has then been reported by the panic itself.
        let _ = self.thread.join();
    }
}

fn mark(shared: &Shared, stop: &Stop) {
    let (mut pause, mut waited) = (INTERVAL, Duration::ZERO);
    loop {
        stop.wait(INTERVAL);
        if stop.is_asked() {
            return;
        }
        // Also of a log to which nothing is appended. It keeps the failure, for the next append and
        // for those who ask how it is.
        let displaced = shared.reader.check_place().is_err_and(|error| error.displaced().is_some());
        waited += INTERVAL;
        if displaced || waited < pause {
            continue;
        }
        waited = Duration::ZERO;
        // Without the mark the store is as it was; that it fails is in `Store::upkeep`.
        pause = match shared.save_mark(shared.index.reached()) {
            Ok(()) => INTERVAL,
            Err(_) => (2 * pause).min(RETRY_INTERVAL_MAX),
        };
    }
}

impl Shared {
    /// Writes down how far the log is durable, if it has grown since the last time.
    ///
    /// The identity can be read all the while.
    ///
    /// # Errors
    ///
    /// If the disk fails. The former mark then holds.
    pub(super) fn save_mark(&self, mark: Watermark) -> Result<(), IdentityError> {
        let _one = lock(&self.saving_identity);
        let mut identity = lock(&self.identity).clone();
        let saved = identity.save_clean(self.disk.as_ref(), mark);
        lock(&self.upkeep).mark_failed(saved.as_ref().err());
        saved?;
        *lock(&self.identity) = identity;
        Ok(())
    }
}
