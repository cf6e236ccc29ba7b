//! Phases of a server: it serves, it drains, it is closed.

use tokio::sync::watch;

/// In this order, and never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Everything is answered.
    Serving,
    /// Running calls are finished, new ones refused.
    Draining,
    /// Connections are asked to end.
    Closing,
    /// Connections are cut.
    Closed,
}

/// Tells those who ask which phase it is.
#[derive(Clone, Debug)]
pub(crate) struct Phases(watch::Receiver<Phase>);

impl Phases {
    pub(crate) fn new() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Serving);
        (sender, Self(receiver))
    }

    pub(crate) fn now(&self) -> Phase {
        *self.0.borrow()
    }

    /// Ready once a phase has begun. A server that is gone is closed.
    pub(crate) async fn reached(mut self, phase: Phase) {
        // An error says that the server is gone.
        let _reached = self.0.wait_for(|now| *now >= phase).await;
    }
}
