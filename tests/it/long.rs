//! Campaigns that take long, and need root or tools. `.ci/long` installs what they need and runs
//! them; `cargo test` leaves them out by name. Each says how much it did, takes its size from the
//! environment, and has a negative control.
#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "a test that cannot go on has failed")]

mod calls;
mod forged;
mod power;
mod volatile;
