//! gRPC for stemedb: the only crate that knows the wire.
