//! The signals of a node: Ctrl-C and SIGTERM end it, SIGHUP makes it read its configuration again.
//!
//! Not the watch of [`super::interrupt`]: that takes SIGHUP for a wish to end as well.

use std::future::Future;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::failure::{Exit, Failure};

/// Signals as something to wait for.
#[derive(Debug)]
pub(super) struct Signals {
    stop: Arc<Notify>,
    hangup: Signal,
}

impl Signals {
    /// Starts to watch, within a runtime. The second of those that end the node ends it at once.
    pub(super) fn watch() -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind).map_err(|source| Failure::System { action: "watch for signals", source })
        };
        let (mut interrupt, mut terminate) =
            (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
        let hangup = on(SignalKind::hangup())?;
        let stop = Arc::new(Notify::new());
        let wake = Arc::clone(&stop);
        tokio::spawn(async move {
            for times in 0.. {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if times > 0 {
                    std::process::exit(Exit::Failed as i32);
                }
                // Kept until somebody waits.
                wake.notify_one();
            }
        });
        Ok(Self { stop, hangup })
    }

    /// Ready when the node is asked to end.
    pub(super) fn stop(&self) -> impl Future<Output = ()> + Send + use<> {
        let stop = Arc::clone(&self.stop);
        async move { stop.notified().await }
    }

    /// Ready at each SIGHUP.
    pub(super) async fn hangup(&mut self) {
        self.hangup.recv().await;
    }
}
