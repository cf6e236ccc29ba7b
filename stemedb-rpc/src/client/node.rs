//! Stands in for the calls of the node's service until those are there.

use super::{CallError, Client};

/// What a node is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Begin no more sessions.
    Pause,
    /// Begin sessions again.
    Resume,
    /// Meet this peer now, or all of them.
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

    /// Asks a node to do something.
    ///
    /// # Errors
    ///
    /// See [`CallError`].
    pub async fn control(&self, control: Control) -> Result<(), CallError> {
        drop(control);
        self.head().await?;
        Err(CallError::Stalled)
    }
}
