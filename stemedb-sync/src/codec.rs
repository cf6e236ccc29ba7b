//! The byte strings inside messages: lists of ids, prefixes, subtrees, bodies.
//!
//! All decoders are total: they take any bytes, check limits before they reserve memory, and accept
//! one encoding of each value only.

pub mod bodies;
pub mod ids;
pub mod prefixes;
pub mod subtrees;
pub mod varint;

/// Error of decoding bytes of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// They end too early, or go on where they should end.
    #[error("the bytes do not end where a list ends")]
    Length,
    /// A number is written in more bytes than it takes, or does not fit 64 bits.
    #[error("a number is not written as it must be")]
    Varint,
    /// More items than allowed.
    #[error("more items than the limit of {max}")]
    TooMany {
        /// How many are allowed.
        max: usize,
    },
    /// Items are not in ascending order, or one repeats.
    #[error("the items are not in ascending order")]
    Order,
    /// A depth is over 256, or a bit behind the prefix is set.
    #[error("a prefix is none")]
    Prefix,
    /// There is no such kind of subtree.
    #[error("a subtree is of an unknown kind")]
    Kind,
    /// An id does not lie below the prefix that it is listed under.
    #[error("an id is listed under a prefix that it does not begin with")]
    Misplaced,
    /// A body is longer than allowed.
    #[error("a body is longer than the limit of {max} bytes")]
    BodyTooLong {
        /// How long it may be.
        max: usize,
    },
}
