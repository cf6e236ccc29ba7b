//! Failures of commands, and their exit codes.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use stemedb::archive::ArchiveError;
use stemedb::node::{NodeError, config::ConfigError};
use stemedb::rpc::{
    CallError, Reason, client::ParseAddressError, server::ServeError, token::TokenError,
};
use stemedb::sync::{Ending, message::Refusal};
use stemedb::{
    AppendError, AssertionId, BackupError, CheckpointError, CloseError, HistoryProofError,
    IdentityError, InternalError, LogIndex, LogSize, OpenError, ParseProofError, ProofError,
    ReadError, RepairError, ResolveError, RestoreError, SecretTooShort, SyncError,
};
use tracing_subscriber::util::TryInitError;

use super::format::{counted, grouped};

/// Exit code of a command that was not carried out. (0 is done.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Something went wrong on the way.
    Failed = 1,
    /// The command line, or what it names, cannot be understood.
    Usage = 2,
    /// The store is damaged, or a proof does not verify.
    Damaged = 3,
    /// There is no such assertion or store.
    NotFound = 4,
    /// All was done, and the answer to what was asked is no.
    No = 5,
    /// A fault of this program: `EX_SOFTWARE` of sysexits.h.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Failure of a command. Its text is what a person reads after `error: `.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[cfg(feature = "zstd")]
    #[error(transparent)]
    Compress(#[from] stemedb::CompressError),
    #[error(transparent)]
    Close(#[from] CloseError),
    #[error(transparent)]
    Repair(#[from] RepairError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Asked(#[from] stemedb::rpc::Failure),
    #[error(transparent)]
    NoSession(#[from] SyncError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Internal(#[from] InternalError),

    /// There is no node to control.
    #[error(
        "no node has the store at {} open: its control socket is not there; name the store of a \
         running node with --store, or give its address with --node and the file with a token of \
         an administrator with --token-file",
        dir.display()
    )]
    NoControl { dir: PathBuf },

    /// Two stores that were compared hold different things.
    #[error("the stores differ")]
    Differs,
    /// A session ended otherwise than well.
    #[error("not synced: {ending}")]
    Sync { ending: Ending },
    /// A file of tokens is none.
    #[error("{}: cannot use it as a token file", path.display())]
    Token { path: PathBuf, source: TokenError },
    /// A body from a server is not the one of its id, as far as is known without a secret.
    #[error(
        "the server gave a body that does not hash to the id {id}; if the store there has a \
         secret, give its file with --secret-file, else don't trust the server"
    )]
    WrongBody { id: AssertionId },
    /// A server does not have what it is asked for.
    #[error("the store at {peer} does not hold {what}")]
    NotThere { what: String, peer: String },
    /// An argument names neither a directory nor a server.
    #[error("{argument}: neither a directory nor an address")]
    NeitherDirNorPeer { argument: String, source: ParseAddressError },

    /// `init` where there is a store.
    #[error("there is a store at {} already; use it, or name another with --store", dir.display())]
    StoreExists { dir: PathBuf },
    /// The store was made with a secret and the command must hash bodies.
    #[error(
        "the store at {} was made with a secret, and without it no body can be hashed; \
         give the file that holds it with --secret-file or STEMEDB_SECRET_FILE",
        dir.display()
    )]
    SecretMissing { dir: PathBuf },
    /// The secret file holds too little.
    #[error("{}: cannot use this secret", path.display())]
    SecretTooShort { path: PathBuf, source: SecretTooShort },

    /// The id is well formed and not in the store.
    #[error("{} holds no assertion {id}; `stemedb ids` lists those it holds", dir.display())]
    NotHeld { id: AssertionId, dir: PathBuf },

    /// The log has no such entry.
    #[error(
        "{} has no entry {index}: {}", dir.display(), entries(*log_size)
    )]
    NoEntry { index: LogIndex, log_size: LogSize, dir: PathBuf },
    /// A body cannot be written in a format.
    #[error(
        "entry {index}: the body of {id} cannot be exported with --format {format}, as nobody \
         could tell where it ends; jsonl and files take any body"
    )]
    NotInFormat { index: LogIndex, id: AssertionId, format: &'static str },
    /// `export` left bodies out.
    #[error(
        "{store}: {} lost or damaged, listed above; all others are exported",
        counted(*lost, "body is", "bodies are")
    )]
    NotExported { store: String, lost: u64 },
    /// A directory for files is named where none are written.
    #[error("--out is for --format files; the other formats go to standard output")]
    OutWithoutFiles,

    /// A line is over the body limit.
    #[error(
        "{origin}: line {line} is longer than the {limit} bytes that a body may have; \
         nothing of it is taken, nor of what follows; --body-max allows more"
    )]
    LineTooLong { origin: Origin, line: u64, limit: usize },
    /// A file is over the body limit.
    #[error(
        "{origin}: longer than the {limit} bytes that a body may have; it is not appended; \
         --body-max allows more"
    )]
    InputTooLong { origin: Origin, limit: usize },
    /// Lines were expected, and what is there is not text.
    #[error(
        "{origin}: line {line} has a NUL byte, so this is not text: append it as one body with \
         --whole, cut it at NUL bytes with -0, or take its lines as they are with --binary"
    )]
    NulInLine { origin: Origin, line: u64 },
    /// A proof of the history that does not verify against its own root.
    #[error("the log or its history's tiles are damaged: run `stemedb check --deep`")]
    WrongHistory { source: HistoryProofError },
    /// The log is not the one of a root.
    #[error(
        "the log has another root at size {size}: {found}, not {trusted}; it is another log, or \
         not all of it is what it was when that root was noted"
    )]
    OtherHistory { size: LogSize, trusted: String, found: String },

    /// Two inputs are to come from standard input.
    #[error("standard input can be only one of the files: name the other one")]
    StdinTwice,
    /// An input cannot be read.
    #[error("{origin}: cannot read it")]
    Input { origin: Origin, source: io::Error },
    /// An input is a directory.
    #[error("{}: is a directory; name the files in it", path.display())]
    InputIsDirectory { path: PathBuf },
    /// Ctrl-C.
    #[error("interrupted; what is acknowledged stays, run the command again for the rest")]
    Interrupted,
    /// The file is not of the form of a proof file.
    #[error("{origin}: not a proof file; `stemedb prove ID -o FILE` makes one")]
    NoProofFile { origin: Origin, source: ParseProofError },
    /// The proof does not lead to the root that is trusted.
    #[error(
        "{origin}: does not verify against root {root}; either the proof is damaged or forged, \
         or the root is that of another set"
    )]
    NotVerified { origin: Origin, root: String, source: ProofError },
    /// The proof verifies, but says the opposite of what was asked.
    #[error("{origin}: verifies, and proves that {id} is {found}, not {asked}")]
    OtherThanAsked { origin: Origin, id: AssertionId, found: &'static str, asked: &'static str },
    /// The proof is about another assertion.
    #[error("{origin}: is a proof about {found}, not about {asked}")]
    OtherId { origin: Origin, found: AssertionId, asked: AssertionId },

    /// `check` found something.
    #[error(
        "{}: verification failed: {}, listed above; `stemedb repair` repairs what it can and keeps \
         a copy of all that it replaces",
        dir.display(), counted(*faults as u64, "error", "errors")
    )]
    NotWhole { dir: PathBuf, faults: usize },

    /// `repair` did what could be done, or would do it.
    #[error(
        "{}: {} lost, listed above; each heals when the same bytes are appended again, by anybody \
         or by a sync",
        dir.display(), counted(*bodies, "body is", "bodies are")
    )]
    BodiesLost { dir: PathBuf, bodies: u64 },
    /// `repair` went on without entries, as it was told.
    #[error(
        "{}: entries are lost for good, {} at least, and the bodies of {} others",
        dir.display(), grouped(*at_least), grouped(*bodies)
    )]
    EntriesLost { dir: PathBuf, at_least: u64, bodies: u64 },

    /// `scrub` found something that it could not heal.
    #[error(
        "{}: verification failed: {}, listed above, not healed; name a store that has the bodies \
         with --from, or run `stemedb repair`",
        dir.display(), counted(*faults as u64, "error", "errors")
    )]
    StillDamaged { dir: PathBuf, faults: usize },
    /// `archive verify` found something.
    #[error(
        "{url}: verification failed: {}, listed above; remove the damaged objects, and send them \
         again with `stemedb archive push --again` from an intact store",
        counted(*faults as u64, "error", "errors")
    )]
    ArchiveNotWhole { url: String, faults: usize },

    /// A step of the demonstration did not come out as promised.
    #[error("the demonstration stopped: {what}")]
    Demo { what: &'static str },

    /// The demonstration is to keep its files where there are others.
    #[error("{} is not empty; name a directory that is, or one to be made", dir.display())]
    NotEmpty { dir: PathBuf },

    /// Some file cannot be read or written.
    #[error("{}: cannot {action}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    /// A thread or a process cannot be started or spoken to.
    #[error("cannot {action}")]
    System { action: &'static str, source: io::Error },
    /// The log cannot be set up.
    #[error("cannot set up the log")]
    Log(#[from] TryInitError),
    /// Standard output cannot be written to.
    #[error("cannot write to standard output")]
    Output(#[from] OutputError),
}

/// The code for a reason of a store, here or there.
fn of_reason(reason: Option<Reason>) -> Exit {
    match reason {
        Some(Reason::Damaged) => Exit::Damaged,
        Some(Reason::NotFound) => Exit::NotFound,
        Some(Reason::Malformed | Reason::Ambiguous | Reason::Configuration) => Exit::Usage,
        _ => Exit::Failed,
    }
}

/// The entries that a log has, in words.
fn entries(log_size: LogSize) -> String {
    match log_size.get() {
        0 => "its log is empty".to_owned(),
        size => format!("its log ends with entry {}", size - 1),
    }
}

/// Standard output cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct OutputError(#[from] pub(super) io::Error);

/// Where bytes come from, as a person calls it.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Origin {
    /// Meaning of an argument: `-` is standard input.
    pub(super) fn of(argument: &std::path::Path) -> Self {
        if argument.as_os_str() == "-" { Self::Stdin } else { Self::File(argument.to_path_buf()) }
    }
}

impl Origin {
    /// Opens it for reading.
    pub(super) fn open(&self) -> Result<Box<dyn io::Read>, Failure> {
        match self {
            Self::Stdin => Ok(Box::new(io::stdin().lock())),
            Self::File(path) => match std::fs::File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(source) => Err(Failure::Input { origin: self.clone(), source }),
            },
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Failure {
    /// The one place that says which failure ends with which code.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Open(error)
            | Self::Backup(BackupError::Open(error))
            | Self::Repair(RepairError::Open(error))
            | Self::Restore(RestoreError::Open(error)) => match error {
                OpenError::Missing { .. } => Exit::NotFound,
                OpenError::Identity(IdentityError::Secret { .. }) => Exit::Usage,
                error if error.is_damage() => Exit::Damaged,
                _ => Exit::Failed,
            },
            Self::Repair(error) if error.is_damage() => Exit::Damaged,
            Self::Read(error) | Self::Resolve(ResolveError::Read(error)) => {
                if error.is_damage() {
                    Exit::Damaged
                } else {
                    Exit::Failed
                }
            }
            Self::Resolve(ResolveError::NotFound { .. })
            | Self::NotHeld { .. }
            | Self::NotThere { .. }
            | Self::NoEntry { .. }
            | Self::Restore(RestoreError::NoBackup { .. }) => Exit::NotFound,
            Self::Resolve(_)
            | Self::Config(_)
            | Self::SecretMissing { .. }
            | Self::SecretTooShort { .. }
            | Self::Token { .. }
            | Self::Call(
                CallError::Tls(_)
                | CallError::AuthorityMissing { .. }
                | CallError::TlsUnwanted { .. }
                | CallError::TokenInPlaintext { .. },
            )
            | Self::NoProofFile { .. }
            | Self::OutWithoutFiles
            | Self::StdinTwice
            | Self::NeitherDirNorPeer { .. } => Exit::Usage,
            Self::Serve(error) if is_lasting(error) => Exit::Usage,
            Self::Node(error) if node_fails_again(error) => Exit::Usage,
            Self::File { action, .. } if KEY_FILES.contains(action) => Exit::Usage,
            Self::Append(error) if error.is_damage() => Exit::Damaged,
            Self::Call(
                CallError::WrongBody { .. }
                | CallError::WrongProof(_)
                | CallError::WrongHistoryProof(_),
            )
            | Self::NoSession(SyncError::Unreadable)
            | Self::BodiesLost { .. }
            | Self::EntriesLost { .. }
            | Self::WrongBody { .. }
            | Self::NotExported { .. }
            | Self::WrongHistory { .. }
            | Self::OtherHistory { .. }
            | Self::Sync {
                ending:
                    Ending::Unreadable
                    | Ending::ProtocolViolation(_)
                    | Ending::Refused(Refusal::Damaged),
            }
            | Self::Backup(BackupError::Damaged { .. } | BackupError::Incomplete { .. })
            | Self::Restore(
                RestoreError::OtherRoot { .. }
                | RestoreError::Damaged { .. }
                | RestoreError::Fault { .. }
                | RestoreError::Unfinished { .. },
            )
            | Self::NotVerified { .. }
            | Self::OtherThanAsked { .. }
            | Self::OtherId { .. }
            | Self::NotWhole { .. }
            | Self::StillDamaged { .. }
            | Self::ArchiveNotWhole { .. } => Exit::Damaged,
            Self::Call(error) => of_reason(error.reason()),
            Self::Asked(failure) => of_reason(Some(failure.reason())),
            Self::Differs => Exit::No,
            Self::Internal(_) => Exit::Internal,
            Self::Archive(error) => match error {
                ArchiveError::Internal(_) => Exit::Internal,
                ArchiveError::NoLog { .. } => Exit::NotFound,
                ArchiveError::Url { .. } | ArchiveError::SeveralLogs { .. } => Exit::Usage,
                error if error.is_damage() => Exit::Damaged,
                _ => Exit::Failed,
            },
            _ => Exit::Failed,
        }
    }

    /// Whether the only failure is that the reader of standard output has gone.
    pub(super) fn is_quiet(&self) -> bool {
        let Self::Output(OutputError(error)) = self else { return false };
        error.kind() == io::ErrorKind::BrokenPipe
    }
}

/// What is done with files of keys, certificates, tokens and secrets that the command line names.
const KEY_FILES: [&str; 4] =
    ["read the certificate or key", "read the tokens", "read the token", "read the secret"];

/// Whether serving fails again however often it is tried: somebody must change something.
fn is_lasting(error: &ServeError) -> bool {
    match error {
        ServeError::Plaintext { .. } | ServeError::Tls(_) => true,
        // An address that is in use may be free later.
        ServeError::Listen { source, .. } => matches!(
            source.kind(),
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied
        ),
        _ => false,
    }
}

/// The same of a node.
fn node_fails_again(error: &NodeError) -> bool {
    match error {
        NodeError::Serve(error) => is_lasting(error),
        NodeError::NodeKey { source, .. } => {
            !matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::Interrupted)
        }
        NodeError::SecretMissing
        | NodeError::ClientTls(_)
        | NodeError::Advertise { .. }
        | NodeError::OpenMembership { .. }
        | NodeError::DuplicateNodeId { .. } => true,
        _ => false,
    }
}
