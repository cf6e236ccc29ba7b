//! gRPC for stemedb: the only crate that will know the wire.
//!
//! **Empty for now.** This crate holds its place in the workspace until the protocol of
//! [`stemedb_sync`] lands: message definitions, server and client, limits, TLS. Decisions stay out
//! of it.
