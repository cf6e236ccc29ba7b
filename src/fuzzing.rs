//! Decoders that are nobody's business but the store's, for the fuzz targets: each gives what it
//! read, written again, or `None` if it refuses the bytes.

pub use stemedb_archive::rewrite as manifest;
pub use stemedb_node::{
    rewrite_members as members, rewrite_node_key as node_key, scrub::rewrite as scrub,
};
pub use stemedb_rpc::store::rewrite_peers as peers;
