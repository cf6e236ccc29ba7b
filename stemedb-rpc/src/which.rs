//! Name of an assertion.

use std::fmt;

use stemedb_store::{AssertionId, Entry, LogIndex, Store};

use crate::{Failure, Reason};

/// Name of an assertion in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// That of an id.
    Id(AssertionId),
    /// That whose id alone begins with these 4 to 64 digits of lowercase hex.
    Prefix(String),
    /// That of an entry of the log.
    Index(LogIndex),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Prefix(prefix) => f.write_str(prefix),
            Self::Index(index) => write!(f, "entry {index}"),
        }
    }
}

impl Which {
    /// The entry of the assertion in a store.
    ///
    /// # Errors
    ///
    /// [`Reason::NotFound`], [`Reason::Ambiguous`], and whatever reading gives.
    pub fn find(&self, store: &Store) -> Result<Entry, Failure> {
        let entry = match self {
            Self::Index(index) => store.entry(*index)?,
            Self::Id(id) => store.find(id)?,
            Self::Prefix(prefix) => store.find(&store.resolve(prefix)?)?,
        };
        Ok(entry.ok_or(Reason::NotFound)?)
    }
}
