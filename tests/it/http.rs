//! What a node shows over HTTP, as programs and browsers meet it: over real connections, from a
//! real store.
//!
//! `STEMEDB_SCREENSHOTS=DIR` has the tests of the console leave pictures of it there.

mod browser;
mod console;
mod health;
mod metrics;
mod node;
mod reading;
mod refusing;
mod request;
