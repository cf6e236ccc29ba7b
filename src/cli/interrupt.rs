//! Ctrl-C: the first asks the command to end well, the second ends it.
//!
//! The `ctrlc` crate is used because it is one call, works on every system, and runs the handler
//! on a thread of its own, where sending into a channel is allowed; tokio's signals would bring a
//! runtime into a command that has none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::failure::{Exit, Failure};

/// Whether somebody pressed Ctrl-C.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to watch; `wake` is called at the first Ctrl-C, on another thread, and may block.
    ///
    /// # Errors
    ///
    /// If the system has no handler left to set.
    pub(super) fn watch(wake: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let interrupt = Self::default();
        let pressed = interrupt.clone();
        ctrlc::set_handler(move || {
            if pressed.0.swap(true, Ordering::SeqCst) {
                std::process::exit(Exit::Failed as i32);
            }
            // The handler must return for a second Ctrl-C to be seen.
            wake();
        })
        .map_err(Failure::Signal)?;
        Ok(interrupt)
    }

    /// Whether it happened.
    pub(super) fn is_pressed(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
