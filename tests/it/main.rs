//! Tests of the node, the command line and the archive, in one executable.

#![allow(
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod archive;
mod cli;
mod cluster;
mod crash;
mod environment;
mod fuzz_smoke;
mod http;
mod long;
mod names;
mod node;
mod reference;
mod scrub;
mod sync;
#[path = "../../fuzz/targets.rs"]
mod targets;
mod tidy;
