//! Errors of operations with an archive, and faults of the archive itself.

use std::{error::Error, fmt, io, path::PathBuf};

use stemedb_merkle::LogIndex;

use stemedb_store::checkpoint::WriteError;
use stemedb_wal::{error::DiskError, identity::IdentityError, sealed::SegmentFault};

use super::manifest::ManifestFault;
use stemedb_store::{
    InternalError,
    error::{AppendError, CheckpointError, HistoryError, OpenError, ReadError},
    store::FrontError,
};

/// Error of an operation with an archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The URL names no archive.
    #[error("archive: invalid URL `{url}`: write s3://BUCKET/PREFIX or file:///DIRECTORY")]
    Url {
        /// The URL.
        url: String,
    },
    /// The directory is not there, or can't be made.
    #[error(
        "there is no directory {} to be used as an archive; sending something makes it",
        dir.display()
    )]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The environment has no credentials.
    #[error(
        "no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the variables \
         of the role that this runs as (AWS_METADATA_ENDPOINT=http://169.254.169.254 for that of \
         the machine)"
    )]
    NoCredentials,
    /// The server is to be spoken to without TLS, and nobody said that this is meant.
    #[error(
        "{endpoint} is reached without TLS, where others can read and change what goes there; \
         set AWS_ALLOW_HTTP=true if that is meant"
    )]
    PlainHttp {
        /// The server.
        endpoint: String,
    },
    /// The environment contradicts itself.
    #[error("cannot use the settings for the archive: see the AWS_ variables")]
    Settings {
        /// The fault.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A fault of the program.
    #[error(transparent)]
    Internal(#[from] InternalError),
    /// The storage did not do what it was asked.
    #[error("cannot {action} {path}{hint}", hint = source.hint())]
    Remote {
        /// The request.
        action: &'static str,
        /// The name of the object.
        path: String,
        /// The error of the storage.
        source: RemoteError,
    },
    /// The archive is damaged.
    #[error("the archive is damaged: {0}; verify it to see all that is")]
    Damaged(Fault),
    /// No log is there, or none that was asked for.
    #[error(
        "{url} holds no log{}",
        named(name.as_deref())
    )]
    NoLog {
        /// The archive.
        url: String,
        /// The prefix that was given.
        name: Option<String>,
    },
    /// More than one log is there.
    #[error("{url} holds {} logs, of which one must be named: {}", names.len(), names.join(", "))]
    SeveralLogs {
        /// The archive.
        url: String,
        /// Their names.
        names: Vec<String>,
    },
    /// The archive has something else where this log goes on.
    #[error(
        "the archive holds another log under the name {log}: it differs from this store's from \
         entry {index} on. Push to another prefix, and find out which of the two is right"
    )]
    OtherLog {
        /// The name of the log.
        log: String,
        /// Where it differs.
        index: LogIndex,
    },
    /// A local segment is damaged; it is not sent.
    #[error("{name} is damaged {fault}; it is not archived; repair the store")]
    LocalDamage {
        /// The segment.
        name: String,
        /// Where.
        fault: SegmentFault,
    },
    /// A local body is not the one of its id; its segment is not sent.
    #[error(
        "{name}: the body of entry {index} does not hash to its id; the segment is not \
         archived; repair the store"
    )]
    LocalBody {
        /// The segment.
        name: String,
        /// The entry.
        index: LogIndex,
    },
    /// Others write to the same log of the archive all the time.
    #[error("others keep writing the manifest of {log}: is one node running twice?")]
    Contended {
        /// The name of the log.
        log: String,
    },
    /// Something is in the way of the store to be made.
    #[error(
        "{} is not empty: name a directory that is not there yet, or the one of a restore that \
         was interrupted",
        dir.display()
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process has the directory.
    #[error("{} is in use by another process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The store is made and checked, and its directory cannot be synced.
    #[error(
        "the store at {} is whole, but may not survive a power cut: its directory cannot be \
         synced; remove it and restore again",
        dir.display()
    )]
    NotSynced {
        /// Where the store is.
        dir: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The archive has another root than the one that was expected.
    #[error(
        "the archive has the set root {found}, and {expected} was expected: it is of another \
         time, or not what you think it is. Nothing was restored"
    )]
    OtherRoot {
        /// The manifest's.
        found: String,
        /// The expected one.
        expected: String,
    },
    /// The store that was archived has a secret.
    #[error(
        "the archived store has a secret, without which bodies can't be held against their ids: \
         give it"
    )]
    SecretMissing,
    /// A secret was given, and the store that was archived has none.
    #[error("the archived store has no secret; open it without one")]
    SecretUnexpected,
    /// The restored store does not open.
    #[error("what was restored does not open")]
    Open(#[from] OpenError),
    /// I/O error of the local disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The local store can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The history of the local store can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The segment can't be sealed.
    #[error(transparent)]
    Seal(#[from] AppendError),
    /// No restart checkpoint can be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The restart checkpoint of the restored store can't be written.
    #[error(transparent)]
    WriteCheckpoint(#[from] WriteError),
    /// The identity of the restored store can't be written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The system has no random numbers to give, or no thread.
    #[error("I/O error")]
    System(#[source] io::Error),
}

/// Fault of an archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An object that a manifest names is not there.
    #[error("{path}: not there")]
    Missing {
        /// The object.
        path: String,
    },
    /// An object has another length.
    #[error("{path}: has {found} bytes instead of {expected}")]
    Len {
        /// The object.
        path: String,
        /// How many it has.
        found: u64,
        /// How many it should have.
        expected: u64,
    },
    /// An object is not what its name says.
    #[error("{path}: its bytes do not hash to its name")]
    Content {
        /// The object.
        path: String,
    },
    /// A manifest can't be used.
    #[error("{path}: {fault}")]
    Manifest {
        /// The manifest.
        path: String,
        /// The reason.
        fault: ManifestFault,
    },
    /// A segment is damaged, although it is what was sent.
    #[error("the segment of entry {first_index} on: {fault}")]
    Segment {
        /// Its first entry.
        first_index: LogIndex,
        /// Where.
        fault: SegmentFault,
    },
    /// A segment is not the one that belongs there.
    #[error("the segment of entry {first_index} on does not follow from the one before")]
    Sequence {
        /// Its first entry.
        first_index: LogIndex,
    },
    /// A body is not the one of its id.
    #[error("the body of entry {index} does not hash to its id")]
    Body {
        /// The entry.
        index: LogIndex,
    },
    /// The entries have another history root.
    #[error("the entries have another history root than the manifest says")]
    LogRoot,
    /// The entries have another set root or count.
    #[error("the entries have another set root than the manifest says")]
    SetRoot,
    /// A part of the restart checkpoint is of no use.
    #[error("the restart checkpoint is not of this log")]
    Checkpoint,
}

/// Error of the storage.
#[derive(Debug)]
pub struct RemoteError(object_store::Error);

impl From<object_store::Error> for RemoteError {
    fn from(error: object_store::Error) -> Self {
        Self(error)
    }
}

impl RemoteError {
    /// Whether the object is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self.0, object_store::Error::NotFound { .. }) && !self.says("NoSuchBucket")
    }

    /// Whether who asks is not allowed to.
    pub fn is_denied(&self) -> bool {
        use object_store::Error::{PermissionDenied, Unauthenticated};
        matches!(self.0, PermissionDenied { .. } | Unauthenticated { .. })
            // What is said of a list is wrapped as of no kind.
            || self.says("status code: 403")
            || self.says("status code: 401")
    }

    fn says(&self, word: &str) -> bool {
        self.0.to_string().contains(word)
    }

    /// Advice, to be put behind what failed.
    fn hint(&self) -> &'static str {
        match self {
            _ if self.says("NoSuchBucket") => {
                ": there is no such bucket; make it, or correct the URL, the region (AWS_REGION) \
                 or the server (AWS_ENDPOINT_URL)"
            }
            _ if self.says("InvalidAccessKeyId") || self.says("ExpiredToken") => {
                ": the key id is not known there, or has expired; see AWS_ACCESS_KEY_ID and \
                 AWS_SESSION_TOKEN"
            }
            _ if self.says("SignatureDoesNotMatch") => {
                ": the secret key is not the one of the key id; see AWS_SECRET_ACCESS_KEY"
            }
            _ if self.is_denied() => {
                ": these credentials may not do that here; what is needed is to get, put and list \
                 objects below the prefix"
            }
            _ if self.says("Connect") || self.says("error sending request") => {
                ": the server can't be reached; see AWS_ENDPOINT_URL and the network. Nothing is \
                 lost: run it again"
            }
            _ => "",
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        // What S3 says is XML; two of its fields are for people.
        match (between(&text, "Code"), between(&text, "Message")) {
            (Some(code), Some(message)) => write!(f, "{code}: {message}"),
            _ => f.write_str(&text),
        }
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // What it is made of is in its text.
        None
    }
}

impl ArchiveError {
    pub(super) fn settings(source: object_store::Error) -> Self {
        Self::Settings { source: Box::new(source) }
    }

    /// Whether what is archived, or what is to be, is damaged.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::LocalDamage { .. } | Self::LocalBody { .. } => true,
            Self::Open(error) => error.is_damage(),
            Self::Read(error) => error.is_damage(),
            _ => false,
        }
    }
}

impl From<Fault> for ArchiveError {
    fn from(fault: Fault) -> Self {
        Self::Damaged(fault)
    }
}

impl From<FrontError> for ArchiveError {
    fn from(error: FrontError) -> Self {
        match error {
            FrontError::Read(error) => Self::Read(error),
            FrontError::History(error) => Self::History(error),
        }
    }
}

/// Text of the first element of this name.
fn between<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}

fn named(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" whose name begins with {name}"))
}
