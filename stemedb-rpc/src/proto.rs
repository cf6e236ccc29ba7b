//! The messages and services of `proto/stemedb/v1/`, as generated from there.

#[rustfmt::skip]
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    reason = "it is generated; the comments are in the protocol files"
)]
#[path = "gen/stemedb.v1.rs"]
pub mod v1;

/// The protocol files in binary form (a `google.protobuf.FileDescriptorSet`), for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/stemedb.v1.bin");
