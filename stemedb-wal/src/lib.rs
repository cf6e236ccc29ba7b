//! The log of stemedb: segments, scanner, recovery, repair.
//!
//! ```text
//!   LOCK                                     the lock; what tells this directory from a copy
//!   IDENTITY                                 who the store is         (identity)
//!   segment-0000-00000000000000000000.log    the log: sealed          (segment, batch, record)
//!   segment-0000-00000000000000187001.log    the log: open
//!   spare.tmp                                the next segment
//!   segment-....log.0001.damaged             what was taken out of use
//! ```
//!
//! - [`disk`] is the seam to storage: what a power cut leaves is said there, and all else here
//!   relies on that alone. Files and memory are its implementations.
//! - `scan` reads segments: one scanner, and one judge of what is not what was written.
//! - [`log`] writes and reads the segments as one sequence, and opens what a crash left;
//!   [`check`] reads all of it; [`repair`] changes damaged files when asked.
//! - [`sealed`] hands out whole segments, for copies of the log that are kept elsewhere, and
//!   compresses them.
//!
//! # Durability
//!
//! - What was acknowledged survives power cuts, and so do its index, time and position.
//! - A record is there whole or not at all. What was not acknowledged may be there after a crash.
//! - The first write or sync that fails is the last one, until the log is opened again.
//! - A torn tail is cut, a copy of it kept, and reported. Damage to what was durable is never cut:
//!   it stops the opening, or fails the read that meets it.

pub mod background;
pub mod check;
mod compressed;
pub mod disk;
pub mod error;
#[doc(hidden)]
pub mod files;
pub mod identity;
mod internal;
pub mod log;
mod position;
#[doc(hidden)]
pub mod raw;
pub mod remote;
pub mod repair;
mod scan;
pub mod sealed;
mod watermark;

pub use position::Position;

use raw::{batch, checksum, record, segment};
