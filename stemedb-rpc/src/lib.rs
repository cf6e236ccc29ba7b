//! gRPC for stemedb: the only crate that knows the wire.
//!
//! `proto/stemedb/v1/` has two services: *store*, which appends, gets, proves and watches from afar,
//! and *replication*, the messages of [`stemedb_sync`] one to one.

pub mod proto;
