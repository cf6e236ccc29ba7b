//! Progress of what can take over a second, shown on a terminal only.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that ends sooner shows nothing: a bar that flashes by tells nobody anything.
const SHOWN_AFTER: Duration = Duration::from_secs(1);
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// A bar over `len` bytes, or an hourglass where the length is unknown.
pub(super) fn bytes(len: Option<u64>) -> ProgressBar {
    let bar = match len {
        Some(len) => ProgressBar::new(len)
            .with_style(style("{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} to go")),
        None => ProgressBar::new_spinner().with_style(style("{spinner} {bytes}, {bytes_per_sec}")),
    };
    bar.set_draw_target(target());
    bar
}

/// A bar over a count that is told as the work goes on.
pub(super) fn count(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0)
        .with_style(style("{msg} {bar:30} {human_pos} of {human_len}, {per_sec}, {eta} to go"))
        .with_message(what);
    bar.set_draw_target(target());
    bar
}

/// A bar over entries that are printed: none where they come to the same terminal.
pub(super) fn printing(what: &'static str) -> ProgressBar {
    let bar = count(what);
    if io::stdout().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// Turns a bar into an hourglass, which moves by itself, for what comes next and cannot be counted.
pub(super) fn wait(bar: &ProgressBar, what: &'static str) {
    bar.set_style(style("{spinner} {msg}, {elapsed}"));
    bar.set_message(what);
    bar.enable_steady_tick(REDRAW_INTERVAL);
}

/// Does `work` and shows that it goes on once it takes longer than a second.
pub(super) fn spin<T>(what: &'static str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let show = move || {
            if waiting.recv_timeout(SHOWN_AFTER) == Err(RecvTimeoutError::Timeout) {
                let spinner = ProgressBar::new_spinner()
                    .with_style(style("{spinner} {msg}, {elapsed}"))
                    .with_message(what);
                while waiting.recv_timeout(REDRAW_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    spinner.tick();
                }
                spinner.finish_and_clear();
            }
        };
        // Without a thread for it nothing is shown.
        let _ = thread::Builder::new().spawn_scoped(scope, show);
        let outcome = work();
        drop(done);
        outcome
    })
}

fn target() -> ProgressDrawTarget {
    if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
