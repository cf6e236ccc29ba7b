//! What surrounds a store misbehaves: clocks, disks, system calls, limits, and other programs that
//! remove files. Each test goes through the binary, under the system's own tools.
//!
//! `cargo test` leaves them out by name: they need root (or user namespaces), strace and faketime.
//! `.ci/run` installs these and runs them, and fails where it cannot:
//!
//! ```sh
//! cargo test --test it -- --ignored environment::
//! ```
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "a test that cannot go on has failed")]

mod calls;
mod clocks;
mod full;
mod limits;
mod readonly;
mod removed;
pub(crate) mod tools;
mod unreadable;
