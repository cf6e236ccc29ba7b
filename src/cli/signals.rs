//! Signals that end a command: Ctrl-C, SIGTERM and SIGHUP, which makes a server reload instead.
//!
//! The first asks the command to end well, the second ends it. They are watched by a thread of
//! their own, since some commands have no runtime, and those that have one may be busy.

use std::future::Future;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};

/// Signals that have come. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    stop: CancellationToken,
    hangup: Arc<Notify>,
}

/// Meaning of SIGHUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangup {
    Stop,
    Reload,
}

impl Signals {
    /// Starts to watch; `wake` is called at the first signal, on another thread, and may block: a
    /// second one is seen once it has returned.
    pub(super) fn watch_and(wake: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        Self::start(Hangup::Stop, wake)
    }

    /// Starts to watch.
    pub(super) fn watch() -> Result<Self, Failure> {
        Self::watch_and(|| {})
    }

    /// Starts to watch for a node or another server.
    pub(super) fn of_server() -> Result<Self, Failure> {
        Self::start(Hangup::Reload, || {})
    }

    fn start(on_hangup: Hangup, wake: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let failed = |source| Failure::System { action: "watch for signals", source };
        let runtime = Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let on = |kind| {
            let _entered = runtime.enter();
            signal(kind).map_err(failed)
        };
        let mut interrupt = on(SignalKind::interrupt())?;
        let mut terminate = on(SignalKind::terminate())?;
        let mut hangup = on(SignalKind::hangup())?;
        let signals = Self::default();
        let Self { stop, hangup: reload } = signals.clone();
        let watch = async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {
                        if on_hangup == Hangup::Reload {
                            // Kept until somebody waits.
                            reload.notify_one();
                            continue;
                        }
                    }
                }
                if stop.is_cancelled() {
                    std::process::exit(Exit::Failed as i32);
                }
                stop.cancel();
                wake();
            }
        };
        // Ends with the process.
        thread::Builder::new().spawn(move || runtime.block_on(watch)).map_err(failed)?;
        Ok(signals)
    }

    /// Whether the command is asked to end.
    pub(super) fn has_stop(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Ready when the command is asked to end.
    pub(super) fn stop(&self) -> impl Future<Output = ()> + Send + use<> {
        self.stop.clone().cancelled_owned()
    }

    /// Ready at each SIGHUP of a server.
    pub(super) async fn hangup(&self) {
        self.hangup.notified().await;
    }
}
