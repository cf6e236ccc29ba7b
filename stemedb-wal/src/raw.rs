//! The pieces of the format on disk, for fuzzing and tests: of these nothing is promised.

pub mod batch;
pub mod checksum;
pub mod compressed;
pub mod record;
pub mod segment;

pub use self::{
    batch::BatchHeader,
    checksum::Salt,
    compressed::{BlockHead, CompressedHeader},
    record::{BODY_LEN_MAX, HEAD_LEN, Head},
    segment::{
        SegmentHeader, TRAILER_LEN, Trailer, parse_segment_name, segment_name, segment_salt,
    },
};
