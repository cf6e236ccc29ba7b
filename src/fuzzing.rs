//! Decoders that are nobody's business but the store's, for the fuzz targets: each gives what it
//! read, written again, or `None` if it refuses the bytes.

pub use crate::{
    archive::rewrite as manifest,
    node::{rewrite_members as members, rewrite_node_key as node_key, scrub::rewrite as scrub},
    store::rewrite_peers as peers,
};
