//! Limits of the process, raised for a store.

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// More files than this are of no use to any command.
const FILES_MAX: u64 = 1 << 16;

/// Lets this process have as many files open as it may, and has a write beyond the limit on file
/// sizes fail, as one to a full disk does, instead of ending the process.
///
/// Failing that, the command does with what it has.
pub(super) fn prepare() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(FILES_MAX).min(FILES_MAX);
    if limit.current.is_some_and(|current| current < most) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    }
    // What the runtime installs for a signal stays when the runtime is gone, and nobody listens.
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() {
        let _entered = runtime.enter();
        let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
    }
}
