//! Computing beside a runtime.

use std::{future::pending, panic::resume_unwind};

use tokio::task::spawn_blocking;

/// Does what takes a while where that keeps nobody waiting.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => match failed.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is at its end, and so is this task.
            Err(_) => pending().await,
        },
    }
}
