//! Between the messages on the wire and the types of this project.

pub(crate) mod replication;
mod stats;
mod status;
pub(crate) mod store;

use crate::Malformed;

/// Bytes of a fixed length.
pub(crate) fn array<const N: usize>(
    field: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], Malformed> {
    let rule = match N {
        16 => "must be 16 bytes",
        _ => "must be 32 bytes",
    };
    bytes.try_into().map_err(|_| Malformed { field, rule })
}

/// Bytes of a fixed length, absent if they are all zeros.
pub(crate) fn array_or_zeros<const N: usize>(
    field: &'static str,
    bytes: &[u8],
) -> Result<[u8; N], Malformed> {
    if bytes.is_empty() { Ok([0; N]) } else { array(field, bytes) }
}

/// The bytes for [`array_or_zeros`].
pub(crate) fn unless_zeros<const N: usize>(bytes: &[u8; N]) -> Vec<u8> {
    if bytes.iter().all(|byte| *byte == 0) { Vec::new() } else { bytes.to_vec() }
}
