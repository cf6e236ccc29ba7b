//! A node: a store that serves, gossips, and brings itself into step with its peers.

pub mod config;
pub mod options;
pub mod status;

mod stub;

pub use options::Options;
pub use status::Status;
pub use stub::{Ended, Node, NodeError};
