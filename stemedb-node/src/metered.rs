//! A store whose clients are measured.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stemedb_merkle::{AssertionId, Hash, SetProof};
use stemedb_rpc::{
    Backend, Reason,
    backend::{EntriesWanted, Entry, Failure, Head, LogId, Pending, Receipt, Which},
};
use tokio::time::Instant;

use self::window::LatencyWindow;
use super::metrics::{Metrics, Origin, Outcome};

pub mod window;

/// Append latencies are kept for so long.
const WINDOW: Duration = Duration::from_secs(10);

/// A backend, and a note of how long each append and each read takes.
#[derive(Debug)]
pub struct Metered<B> {
    inner: Arc<B>,
    meter: Meter,
}

/// Where it is noted.
#[derive(Clone, Debug)]
struct Meter {
    metrics: Metrics,
    /// The beginning of its time.
    origin: Instant,
    appends: Arc<Mutex<LatencyWindow>>,
}

impl Meter {
    fn appended(&self, began: Instant, results: Result<&[Receipt], usize>) {
        let now = now();
        let took = now - began;
        let count = |held| {
            let receipts = results.unwrap_or_default();
            receipts.iter().filter(|receipt| receipt.duplicate == held).count()
        };
        let mut time = Some(took);
        for (outcome, count) in [
            (Outcome::Failed, results.err().unwrap_or(0)),
            (Outcome::Done, count(false)),
            (Outcome::Held, count(true)),
        ] {
            if count > 0 {
                self.metrics.appended(Origin::Client, outcome, count as u64, time.take());
            }
        }
        if results.is_ok() {
            let mut appends = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
            appends.note(now - self.origin, took);
        }
    }

    fn got(&self, began: Instant, result: Result<(), &Failure>) {
        let outcome = match result {
            Ok(()) => Outcome::Done,
            Err(failure) if failure.reason() == Reason::NotFound => Outcome::Missing,
            Err(_) => Outcome::Failed,
        };
        self.metrics.got(outcome, now() - began);
    }
}

/// The time of the runtime, which tests can hold.
fn now() -> Instant {
    Instant::now()
}

impl<B: Backend> Metered<B> {
    /// Measures a backend.
    pub fn new(inner: Arc<B>, metrics: Metrics) -> Self {
        let appends = Arc::new(Mutex::new(LatencyWindow::new(WINDOW)));
        Self { inner, meter: Meter { metrics, origin: now(), appends } }
    }

    /// The backend itself.
    pub fn inner(&self) -> &Arc<B> {
        &self.inner
    }

    /// Client-observed append latency of the last 5 to 10 seconds, 99th percentile; `None` if there
    /// were no appends. Failed ones don't count.
    pub fn append_p99(&self) -> Option<Duration> {
        let mut appends = self.meter.appends.lock().unwrap_or_else(PoisonError::into_inner);
        appends.quantile(now() - self.meter.origin, 0.99)
    }
}

/// Appends under way, and when they began.
#[derive(Debug)]
pub struct MeteredPending<P> {
    inner: P,
    began: Instant,
    count: usize,
    meter: Meter,
}

impl<P: Pending> Pending for MeteredPending<P> {
    fn wait(self) -> Result<Vec<Receipt>, Failure> {
        let Self { inner, began, count, meter } = self;
        let result = inner.wait();
        meter.appended(began, result.as_ref().map(Vec::as_slice).map_err(|_| count));
        result
    }
}

impl<B: Backend> Backend for Metered<B> {
    type Pending = MeteredPending<B::Pending>;

    async fn append(&self, body: Vec<u8>) -> Result<Receipt, Failure> {
        let began = now();
        let result = self.inner.append(body).await;
        self.meter.appended(began, result.as_ref().map(std::slice::from_ref).map_err(|_| 1));
        result
    }

    fn submit(&self, bodies: Vec<Vec<u8>>) -> Self::Pending {
        let (began, count) = (now(), bodies.len());
        MeteredPending { inner: self.inner.submit(bodies), began, count, meter: self.meter.clone() }
    }

    fn body_len_max(&self) -> usize {
        self.inner.body_len_max()
    }

    fn head(&self) -> Result<Head, Failure> {
        self.inner.head()
    }

    fn find(&self, which: &Which) -> Result<Entry, Failure> {
        let began = now();
        let found = self.inner.find(which);
        // One that is found is counted once its body is read.
        if let Err(failure) = &found {
            self.meter.got(began, Err(failure));
        }
        found
    }

    fn body(&self, entry: &Entry) -> Result<Vec<u8>, Failure> {
        let began = now();
        let body = self.inner.body(entry);
        self.meter.got(began, body.as_ref().map(drop));
        body
    }

    fn prove(&self, id: &AssertionId) -> Result<(SetProof, Hash), Failure> {
        self.inner.prove(id)
    }

    fn log_id(&self) -> LogId {
        self.inner.log_id()
    }

    fn entries(&self, from: u64, wanted: &EntriesWanted) -> Result<Vec<Entry>, Failure> {
        self.inner.entries(from, wanted)
    }

    async fn grown(&self, entries: u64) -> bool {
        self.inner.grown(entries).await
    }
}

#[cfg(test)]
mod tests;
