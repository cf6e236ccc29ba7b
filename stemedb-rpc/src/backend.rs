//! What the server needs of a store.

use std::{error::Error, fmt, future::Future};

pub use stemedb_store::LogId;

use stemedb_merkle::{AssertionId, Hash, proof::SetProof};

use crate::Reason;

/// A store as the store service sees it.
///
/// The methods that are not async may read from a disk; they are called where that is allowed.
pub trait Backend: Send + Sync + 'static {
    /// Appends under way.
    type Pending: Pending;

    /// Appends a body. Ready once it is durable.
    ///
    /// # Errors
    ///
    /// If it was not taken, or nobody knows.
    fn append(&self, body: Vec<u8>) -> impl Future<Output = Result<Receipt, Failure>> + Send;

    /// Hands bodies on to be appended, in the order of the calls. May wait until there is room for
    /// them.
    fn submit(&self, bodies: Vec<Vec<u8>>) -> Self::Pending;

    /// The longest body that the store takes, in bytes.
    fn body_len_max(&self) -> usize;

    /// What the store holds at this moment.
    ///
    /// # Errors
    ///
    /// If that is not known any more.
    fn head(&self) -> Result<Head, Failure>;

    /// An entry, without its body.
    ///
    /// # Errors
    ///
    /// [`Reason::NotFound`], [`Reason::Ambiguous`], and whatever reading gives.
    fn find(&self, which: &Which) -> Result<Entry, Failure>;

    /// The body of an entry that was found, checked against its id.
    ///
    /// # Errors
    ///
    /// Whatever reading gives; it may have been lost to damage.
    fn body(&self, entry: &Entry) -> Result<Vec<u8>, Failure>;

    /// A proof that an id is in the set, or is not, and the set root that it was made for.
    ///
    /// # Errors
    ///
    /// If the trees can't be read.
    fn prove(&self, id: &AssertionId) -> Result<(SetProof, Hash), Failure>;

    /// Which log it is: the same as long as an index means the same entry.
    fn log_id(&self) -> LogId;

    /// Entries of the log from an index on, in order and without gaps; none at its end.
    ///
    /// # Errors
    ///
    /// If one can't be read.
    fn entries(&self, from: u64, wanted: &EntriesWanted) -> Result<Vec<Entry>, Failure>;

    /// Ready once the log has more than `entries` entries; false if it never will, because the
    /// store is closed.
    fn grown(&self, entries: u64) -> impl Future<Output = bool> + Send;
}

/// Appends under way.
pub trait Pending: Send + 'static {
    /// Waits until all of them are durable, and gives a receipt for each, in order.
    ///
    /// # Errors
    ///
    /// If some were not taken, or nobody knows.
    fn wait(self) -> Result<Vec<Receipt>, Failure>;
}

/// A log that was watched, and the last entry that was seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchedLog {
    /// Which log it was.
    pub log: LogId,
    /// Time and id of the last entry; `None` if none was seen.
    pub last: Option<(u64, AssertionId)>,
}

impl WatchedLog {
    /// Whether this is the log of a backend, with the last entry right before index `from`. A store
    /// that was put back to an earlier state as a whole keeps its name, and has another entry
    /// there, or none.
    ///
    /// # Errors
    ///
    /// If that entry can't be read.
    pub fn is_of<B: Backend>(&self, backend: &B, from: u64) -> Result<bool, Failure> {
        if backend.log_id() != self.log {
            return Ok(false);
        }
        let Some(last) = self.last else { return Ok(true) };
        let Some(index) = from.checked_sub(1) else { return Ok(false) };
        let wanted = EntriesWanted { entries_max: 1, body_len_max: None, bytes_aim: 1 };
        let entries = backend.entries(index, &wanted)?;
        Ok(entries.first().is_some_and(|entry| (entry.time, entry.id) == last))
    }
}

/// How much of the log is wanted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntriesWanted {
    /// At most so many entries.
    pub entries_max: usize,
    /// Bodies of at most so many bytes, others are left out; `None` if none are wanted.
    pub body_len_max: Option<usize>,
    /// No more entries once their bodies come to so many bytes.
    pub bytes_aim: usize,
}

/// Which assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// That of an id.
    Id(AssertionId),
    /// That whose id alone begins with these 8 to 64 digits of lowercase hex.
    Prefix(String),
    /// That of an entry of the log.
    Index(u64),
}

/// The acknowledgement of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The assertion's id.
    pub id: AssertionId,
    /// Its index in the log.
    pub index: u64,
    /// The time at which the log took it in, NTP64.
    pub time: u64,
    /// Whether it was held already: index and time are then those of the first time.
    pub duplicate: bool,
}

/// What a store holds, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many assertions.
    pub count: u64,
    /// The root over them.
    pub set_root: Hash,
    /// How many entries the log has.
    pub log_size: u64,
    /// The root over its history.
    pub log_root: Hash,
    /// The time of the last entry, NTP64; 0 if there is none.
    pub last_time: u64,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The assertion's id.
    pub id: AssertionId,
    /// Its index in the log.
    pub index: u64,
    /// The time at which the log took it in, NTP64.
    pub time: u64,
    /// The length of the body, in bytes.
    pub len: u64,
    /// The body, where it was asked for and is not too long.
    pub body: Option<Vec<u8>>,
}

/// Why a store did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    reason: Reason,
    source: Box<dyn Error + Send + Sync>,
    /// What the peer may know of a failure of the store itself.
    detail: Option<String>,
}

impl Failure {
    /// A failure for a reason, and what the store says of it.
    ///
    /// The peer is told the latter if the request was at fault. What concerns the store itself
    /// ([`Reason::Damaged`], [`Reason::Failed`]) is told without particulars, which may be paths.
    pub fn new(reason: Reason, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { reason, source: source.into(), detail: None }
    }

    /// The same, with what the peer may know of a failure of the store itself: no paths.
    #[must_use]
    pub fn with_detail(self, detail: String) -> Self {
        Self { detail: Some(detail), ..self }
    }

    /// What kind of failure it is.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self { reason, source: Box::new(reason), detail: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.source()
    }
}

impl From<Failure> for tonic::Status {
    fn from(failure: Failure) -> Self {
        match failure.reason {
            reason @ (Reason::Damaged | Reason::Failed) => match failure.detail {
                Some(detail) => reason.status(detail),
                None => reason.into(),
            },
            reason => reason.status(failure.to_string()),
        }
    }
}
