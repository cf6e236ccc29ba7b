//! A node: a store that serves, gossips, and brings itself into step with its peers.

pub mod http;
pub mod metered;
pub mod metrics;
pub mod options;
pub mod status;

pub use metrics::Metrics;
pub use options::Options;
pub use status::Status;
