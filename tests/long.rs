//! Campaigns that take long, and need root or tools. `.ci/long` installs what they need and runs
//! them; `cargo test` leaves them out by name. Each says how much it did, takes its size from the
//! environment, and has a negative control.
#![cfg(target_os = "linux")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

#[path = "crash/appender.rs"]
mod appender;
#[path = "cli/binary.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod binary;
#[path = "reference/random.rs"]
mod random;
#[path = "../stemedb-merkle/tests/reference/set_tree.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod set_tree;
#[path = "../fuzz/targets.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod targets;

mod long {
    mod calls;
    mod forged;
    mod power;
    #[path = "../environment/tools.rs"]
    #[allow(dead_code, reason = "each test file uses a part")]
    mod tools;
    mod volatile;
}
