//! The protocol by which two stemedb stores find what they lack of each other.
//!
//! ```text
//!        initiator                                    responder
//!   snapshot ─> Session ── Hello, AskSymbols, ... ──> Responder <─ snapshot, one a session
//!                 ^  │  <─ Welcome, Symbols, ... ───     │  ^
//!    bodies read ─┘  └─> bodies to append                │  └─ bodies read: Source
//!                                                        └─> bodies to append: PendingPush
//! ```
//!
//! - [`Session`] asks. It tries the cheapest way to find out what differs and falls through to the
//!   next: roots, the tail of the peer's log, coded [`symbols`], descent of the set tree. What it
//!   finds is checked against the peer's root before it is called complete, and each body against
//!   its id.
//! - [`Responder`] answers from the snapshot that it pins for each session.
//! - [`Cluster`] says whom to sync with: it keeps the members, what they hold, and the schedule.
//! - [`message`] is what the two say, [`codec`] the lists in it, [`Limits`] what each allows.
//!
//! Nothing here reads, writes, waits, asks for the time or draws random numbers: messages, results
//! of reads, and time go in; messages, reads and appends wanted come out.

mod body_list;
pub mod cluster;
pub mod codec;
mod internal;
pub mod keys;
pub mod limits;
pub mod memory;
pub mod message;
mod parts;
pub mod replica;
pub mod report;
pub mod responder;
pub mod session;
pub mod violation;

pub use body_list::{BodyList, HashedBodies};
pub use cluster::Cluster;
pub use keys::Keys;
pub use limits::Limits;
pub use memory::MemoryBudget;
pub use replica::{Identity, Pin, Source, Unreadable};
pub use report::{Ending, Report};
pub use responder::Responder;
pub use session::{Config, Direction, Output, Session};
pub use stemedb_merkle::symbols;
pub use violation::ProtocolViolation;
