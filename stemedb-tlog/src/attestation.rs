//! Attestations: signed notes that are stored as assertions.
//!
//! | first line | says | signed by |
//! |---|---|---|
//! | `stemedb.dev/erasure@v1` | a body is erased | one line, of an eraser |
//! | `stemedb.dev/shred@v1` | a key of sealed bodies is destroyed | one line, of an eraser |
//! | `stemedb.dev/key-rotation@v1` | a log changes its key | the old and the new key |
//! | `stemedb.dev/audit@v1` | a log was audited | an auditor |
//!
//! Their texts are lines of a word and a value, exactly those of the kind, in one order.

mod audit;
mod erasure;
mod fields;
mod kind;
mod reason;
mod rotation;
mod shred;

pub use audit::{Audit, AuditDepth, UnverifiedAudit};
pub use erasure::{ErasedEntry, Erasure, UnverifiedErasure};
pub use kind::{AttestationKind, is_protected};
pub use reason::Reason;
pub use rotation::{KeyRotation, UnverifiedRotation};
pub use shred::{Shred, UnverifiedShred};
