//! Stands in for the calls of the node's service until those are there.

use crate::{CallError, Client};

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Begin no sessions.
    Pause,
    /// Begin sessions again.
    Resume,
    /// Meet a peer now, or all.
    Trigger(Option<String>),
    /// Read the configuration again.
    Reload,
}

impl Client {
    /// What a node shows of itself, as JSON.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn status(&self) -> Result<String, CallError> {
        self.head().await?;
        Err(CallError::Stalled)
    }

    /// Tells a node to do something, and gives what it says was done.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn control(&self, what: Control) -> Result<String, CallError> {
        self.head().await?;
        drop(what);
        Err(CallError::Stalled)
    }
}
