//! The protocol by which two stemedb stores find what they lack of each other.
//!
//! Nothing here reads, writes, waits, asks for the time or draws random numbers: messages, results
//! of reads, and time go in; messages, reads and appends wanted come out.

pub mod codec;
pub mod keys;
pub mod limits;
pub mod message;
pub mod replica;
pub mod responder;
pub mod symbols;

pub use keys::Keys;
pub use limits::Limits;
pub use replica::{Identity, Pin, Source, Unreadable};
pub use responder::Responder;
