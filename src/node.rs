//! A node: a store that serves, gossips, and brings itself into step with its peers.

pub mod options;
pub mod scrub;
pub mod status;

pub use options::Options;
pub use status::Status;
