//! Receipts of keys that are destroyed.

use alloc::string::String;

use stemedb_merkle::id::to_hex;

use super::{
    fields::{lines, one_line, reason, time},
    reason::Reason,
};
use crate::{hex, malformed::Malformed, note::UnverifiedNote, refused::Refused, vkey::VerifierKey};

/// The first line of a shredding.
const FIRST_LINE: &str = "stemedb.dev/shred@v1";

/// Destruction of the key of sealed bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shred {
    /// The id of the key.
    pub key: [u8; 16],
    /// The time in POSIX seconds.
    pub time: u64,
    /// The reason.
    pub reason: Reason,
}

/// A shredding that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedShred {
    note: UnverifiedNote,
    shred: Shred,
}

impl Shred {
    /// The text to be signed by an eraser with [`Note::sign`](crate::note::Note::sign).
    pub fn text(&self) -> String {
        let Self { key, time, reason } = self;
        let key = to_hex(key);
        alloc::format!("{FIRST_LINE}\nkey {key}\ntime {time}\nreason {reason}\n")
    }
}

impl UnverifiedShred {
    /// Reads a shredding.
    ///
    /// # Errors
    ///
    /// If the body is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let note = UnverifiedNote::parse(body)?;
        let mut lines = lines(&note, FIRST_LINE)?;
        let rule = "expected `key` and 32 lowercase hex digits";
        let key = lines.field("key", rule, hex::decode)?;
        let time = time(&mut lines)?;
        let reason = reason(&mut lines)?;
        lines.end()?;
        one_line(&note)?;
        Ok(Self { note, shred: Shred { key, time, reason } })
    }

    /// Verifies the shredding against the keys of erasers that are trusted, of type 0x01.
    ///
    /// # Errors
    ///
    /// If none of them has signed it.
    pub fn verify(self, erasers: &[VerifierKey]) -> Result<Shred, Refused> {
        self.note.verify(erasers)?;
        Ok(self.shred)
    }
}
