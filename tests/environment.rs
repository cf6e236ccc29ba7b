//! What surrounds a store misbehaves: clocks, disks, system calls, limits, and other programs that
//! remove files. Each test goes through the binary, under the system's own tools.
//!
//! `cargo test` leaves them out by name: they need root (or user namespaces), strace and faketime.
//! `.ci/run` installs these and runs them, and fails where it cannot:
//!
//! ```sh
//! cargo test --test environment -- --ignored
//! ```
#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "cli/binary.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod binary;

mod environment {
    mod calls;
    mod clocks;
    mod full;
    mod limits;
    mod readonly;
    mod removed;
    mod tools;
}
