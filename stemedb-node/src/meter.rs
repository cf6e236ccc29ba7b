//! Measures of what clients and peers ask of the store.

mod window;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use stemedb_rpc::{Observer, Reason, StoreEvent, observer};
use stemedb_store::store::lock;
use tokio::time::Instant;

use self::window::LatencyWindow;
use super::metrics::{Metrics, Origin, Outcome};

/// Append latencies are kept for so long.
const WINDOW: Duration = Duration::from_secs(10);

/// Notes how long appends and reads take. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    metrics: Metrics,
    /// The beginning of its time.
    origin: Instant,
    appends: Arc<Mutex<LatencyWindow>>,
}

impl Meter {
    pub(super) fn new(metrics: Metrics) -> Self {
        let appends = Arc::new(Mutex::new(LatencyWindow::new(WINDOW)));
        Self { metrics, origin: Instant::now(), appends }
    }

    /// The receiver of the events that it notes.
    pub(super) fn observer(&self) -> Observer {
        let meter = self.clone();
        Observer::new(move |event| meter.note(event))
    }

    /// Client-observed append latency of the last 5 to 10 seconds, 99th percentile; `None` if there
    /// were no appends. Failed ones don't count.
    pub(super) fn append_p99(&self) -> Option<Duration> {
        lock(&self.appends).quantile(self.origin.elapsed(), 0.99)
    }

    fn note(&self, event: StoreEvent) {
        match event {
            StoreEvent::Append { origin, new, held, failed, time } => {
                let is_client = origin == observer::Origin::Client;
                let origin = if is_client { Origin::Client } else { Origin::Peer };
                let mut took = Some(time);
                for (outcome, count) in
                    [(Outcome::Failed, failed), (Outcome::Done, new), (Outcome::Held, held)]
                {
                    if count > 0 {
                        self.metrics.appended(origin, outcome, count, took.take());
                    }
                }
                // A message may have brought no whole body.
                if is_client && failed == 0 && new + held > 0 {
                    lock(&self.appends).note(self.origin.elapsed(), time);
                }
            }
            StoreEvent::Get { result, time } => {
                let outcome = match result {
                    Ok(()) => Outcome::Done,
                    Err(Reason::NotFound) => Outcome::Missing,
                    Err(_) => Outcome::Failed,
                };
                self.metrics.got(outcome, time);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_appends_take_is_noted() {
        let meter = Meter::new(Metrics::new());
        let append = |new, held, failed, millis| {
            let (origin, time) = (observer::Origin::Client, Duration::from_millis(millis));
            meter.note(StoreEvent::Append { origin, new, held, failed, time });
        };
        assert_eq!(meter.append_p99(), None);
        append(0, 0, 1, 1);
        assert_eq!(meter.append_p99(), None, "failures don't count");
        append(1, 0, 0, 40);
        let p99 = meter.append_p99().unwrap();
        assert!(p99 >= Duration::from_millis(40) && p99 < Duration::from_secs(10), "{p99:?}");
        append(0, 3, 0, 1);
        append(0, 0, 3, 1);
        let origin = observer::Origin::Peer;
        let time = Duration::from_secs(60);
        meter.note(StoreEvent::Append { origin, new: 5, held: 0, failed: 0, time });
        assert!(meter.append_p99().unwrap() < Duration::from_secs(10), "peers don't count");
        for result in [Ok(()), Err(Reason::NotFound)] {
            meter.note(StoreEvent::Get { result, time });
        }
        let mut text = String::new();
        meter.metrics.events_into(&mut text);
        for line in [
            "stemedb_appends_total{origin=\"client\",outcome=\"done\"} 1\n",
            "stemedb_appends_total{origin=\"client\",outcome=\"held\"} 3\n",
            "stemedb_appends_total{origin=\"client\",outcome=\"failed\"} 4\n",
            "stemedb_append_seconds_count{origin=\"client\"} 4\n",
            "stemedb_appends_total{origin=\"peer\",outcome=\"done\"} 5\n",
            "stemedb_gets_total{outcome=\"done\"} 1\n",
            "stemedb_gets_total{outcome=\"missing\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
