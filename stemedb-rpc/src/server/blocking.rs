//! Work that may read from a disk, off the threads of the runtime.

use tokio::task::spawn_blocking;
use tonic::Status;

use crate::{Failure, Reason, computing::try_compute};

/// Does what a session of a peer waits for, in threads that give way to all others.
pub(super) async fn for_peer<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    try_compute(work).await.map_err(|_| Reason::Failed.into())
}

/// Does what may read from a disk.
pub(super) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    spawn_blocking(work).await.map_err(|_| Reason::Failed.into())
}

/// The same, of what may fail.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Status> {
    off_thread(work).await?.map_err(Status::from)
}
