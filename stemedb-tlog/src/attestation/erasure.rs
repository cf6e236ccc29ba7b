//! Erasure receipts.

use alloc::string::String;

use stemedb_merkle::{AssertionId, LogIndex};

use super::{
    fields::{hash, lines, log, one_line, reason, time},
    reason::Reason,
};
use crate::{
    lines::number, malformed::Malformed, name::KeyName, note::UnverifiedNote, refused::Refused,
    vkey::VerifierKey,
};

/// The first line of an erasure receipt.
const FIRST_LINE: &str = "stemedb.dev/erasure@v1";

/// Entry of a log whose body is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedEntry {
    /// The log's origin.
    pub log: KeyName,
    /// The entry's index.
    pub index: LogIndex,
}

/// Erasure of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The id of the body.
    pub id: AssertionId,
    /// The entry of the body in the eraser's log, if that has an origin.
    pub entry: Option<ErasedEntry>,
    /// The time in POSIX seconds.
    pub time: u64,
    /// The reason.
    pub reason: Reason,
}

/// An erasure receipt that parses, and of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedErasure {
    note: UnverifiedNote,
    erasure: Erasure,
}

impl Erasure {
    /// The text to be signed by an eraser with [`Note::sign`](crate::note::Note::sign).
    pub fn text(&self) -> String {
        let Self { id, entry, time, reason } = self;
        let entry = entry.as_ref().map_or_else(String::new, |ErasedEntry { log, index }| {
            alloc::format!("log {}\nindex {index}\n", log.as_str())
        });
        alloc::format!("{FIRST_LINE}\nid {id}\n{entry}time {time}\nreason {reason}\n")
    }
}

impl UnverifiedErasure {
    /// Reads a receipt.
    ///
    /// # Errors
    ///
    /// If the body is none.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let note = UnverifiedNote::parse(body)?;
        let mut lines = lines(&note, FIRST_LINE)?;
        let rule = "expected `id` and 64 lowercase hex digits";
        let id = AssertionId(hash(&mut lines, "id", rule)?);
        let entry = lines.begin_with("log ").then(|| -> Result<_, Malformed> {
            let log = log(&mut lines)?;
            let rule = "expected `index` and a decimal number, since there is a `log`";
            let index = LogIndex(lines.field("index", rule, number)?);
            Ok(ErasedEntry { log, index })
        });
        let entry = entry.transpose()?;
        let time = time(&mut lines)?;
        let reason = reason(&mut lines)?;
        lines.end()?;
        one_line(&note)?;
        Ok(Self { note, erasure: Erasure { id, entry, time, reason } })
    }

    /// The id that it names, which says nothing while the receipt is not verified: to file a
    /// receipt until its key becomes trusted.
    pub const fn unverified_id(&self) -> AssertionId {
        self.erasure.id
    }

    /// Verifies the receipt against the keys of erasers that a store trusts, of type 0x01.
    ///
    /// # Errors
    ///
    /// If none of them has signed it.
    pub fn verify(self, erasers: &[VerifierKey]) -> Result<Erasure, Refused> {
        self.note.verify(erasers)?;
        Ok(self.erasure)
    }
}
