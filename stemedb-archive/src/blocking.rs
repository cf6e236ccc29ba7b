//! Work that no worker of the runtime has the time for.

use tokio::task::{JoinError, spawn_blocking};

use super::ArchiveError;

/// Does what waits for the disk or the processor where no other task waits for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    spawn_blocking(work).await.map_err(ended)?
}

/// A task that did not end by itself: the runtime is being shut down.
pub(super) fn ended(error: JoinError) -> ArchiveError {
    ArchiveError::System(std::io::Error::other(error))
}
