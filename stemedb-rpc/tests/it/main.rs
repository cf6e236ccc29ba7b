//! The server and the client over real sockets, with a store in memory; the generated
//! code; the worked example of `docs/protocol.md`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod calls;
mod crowds;
mod doors;
mod generated;
mod hostile;
mod lists;
mod meeting;
#[path = "../../../stemedb-sync/tests/it/model.rs"]
mod model;
mod pushes;
mod python;
mod resuming;
mod rude;
mod samples;
mod scripted;
mod sessions;
mod stop;
mod stores;
mod strangers;
mod unread;
mod watching;
mod worked_example;
mod world;
