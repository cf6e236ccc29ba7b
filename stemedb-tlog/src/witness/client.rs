//! The client's side of a submission to one witness.

use alloc::{string::String, vec::Vec};
use core::fmt;

use stemedb_merkle::{LogSize, history::ConsistencyProof};

use super::{request::WitnessRequest, response};
use crate::{
    error::Error, key_type::KeyType, limits::RESPONSE_LEN_MAX, note_signature::NoteSignature,
    signed_checkpoint::SignedCheckpoint, vkey::VerifierKey,
};

/// How often a submission is repeated with a proof from the size that the witness told.
pub const RETRIES_MAX: u32 = 3;

/// Milliseconds before the first repetition; each of the next waits twice as long.
pub const RETRY_AFTER_MS_MIN: u64 = 10;

/// Submission of a checkpoint to one witness, without the network.
///
/// The caller makes the proof from [`Self::old`] to the size of the checkpoint, sends
/// [`Self::request`], and tells the answer to [`Self::on_response`]. Redirects are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessClient {
    checkpoint: SignedCheckpoint,
    keys: Vec<VerifierKey>,
    old: LogSize,
    retries: u32,
}

/// What follows from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientStep {
    /// The witness has cosigned.
    Cosigned(Vec<NoteSignature>),
    /// Send the request again, with a proof from [`WitnessClient::old`], after so many
    /// milliseconds.
    Retry {
        /// Milliseconds to wait.
        after_ms: u64,
    },
    /// The witness knows another history of this log: signing stops, and both heads are kept.
    Alarm(Alarm),
    /// No cosignature this time. The next checkpoint is submitted all the same.
    Failed(WitnessFailure),
}

/// Sign that a log has two histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The witness has cosigned a larger head than this.
    LargerHead {
        /// Its size.
        stored: LogSize,
    },
    /// The witness found this head inconsistent with the one that it has cosigned last.
    Inconsistent,
}

/// Reason why there is no cosignature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WitnessFailure {
    /// The witness answered with this status.
    Status(u16),
    /// The answer is longer than any.
    TooLong,
    /// The answer does not tell a size.
    NoSize,
    /// The witness told another size again and again.
    TooManyRetries,
    /// The cosignatures do not verify.
    Cosignatures(Error),
}

impl WitnessClient {
    /// A submission of a checkpoint to a witness of these keys, from the size that was learned from
    /// it last, or 0.
    pub fn new(checkpoint: SignedCheckpoint, keys: &[VerifierKey], learned: LogSize) -> Self {
        let keys = keys.iter().filter(|key| KeyType::WITNESS.contains(&key.key_type()));
        // A size above that of the checkpoint, as after a rollback, is told again by the witness.
        let old = learned.min(checkpoint.head().size);
        Self { checkpoint, keys: keys.cloned().collect(), old, retries: 0 }
    }

    /// The size from which the next request proves consistency.
    pub const fn old(&self) -> LogSize {
        self.old
    }

    /// The size to which it does.
    pub const fn new_size(&self) -> LogSize {
        self.checkpoint.head().size
    }

    /// The body of the next request, with a proof from [`Self::old`] to [`Self::new_size`].
    pub fn request(&self, proof: &ConsistencyProof) -> String {
        WitnessRequest::write(self.old, proof, &self.checkpoint)
    }

    /// Decides what follows from an answer.
    pub fn on_response(&mut self, status: u16, content_type: &str, body: &[u8]) -> ClientStep {
        if body.len() > RESPONSE_LEN_MAX {
            return ClientStep::Failed(WitnessFailure::TooLong);
        }
        match status {
            200 => match response::read_cosignatures(body, &self.checkpoint, &self.keys) {
                Ok(cosignatures) => ClientStep::Cosigned(cosignatures),
                Err(error) => ClientStep::Failed(WitnessFailure::Cosignatures(error)),
            },
            409 => match response::read_size(content_type, body) {
                None => ClientStep::Failed(WitnessFailure::NoSize),
                Some(stored) => self.on_other_size(stored),
            },
            422 => ClientStep::Alarm(Alarm::Inconsistent),
            status => ClientStep::Failed(WitnessFailure::Status(status)),
        }
    }

    fn on_other_size(&mut self, stored: LogSize) -> ClientStep {
        if stored > self.new_size() {
            return ClientStep::Alarm(Alarm::LargerHead { stored });
        }
        if self.retries >= RETRIES_MAX {
            return ClientStep::Failed(WitnessFailure::TooManyRetries);
        }
        let after_ms = RETRY_AFTER_MS_MIN << self.retries;
        self.retries += 1;
        self.old = stored;
        ClientStep::Retry { after_ms }
    }
}

impl fmt::Display for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LargerHead { stored } => write!(
                f,
                "the witness has cosigned a head of {stored} entries, more than this log has; stop \
                 signing, and find out whether this is an old copy"
            ),
            Self::Inconsistent => f.write_str(
                "the witness has cosigned another history of this log; stop signing, and keep both \
                 heads",
            ),
        }
    }
}

impl fmt::Display for WitnessFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "the witness answered with status {status}"),
            Self::TooLong => write!(f, "the answer is longer than {RESPONSE_LEN_MAX} bytes"),
            Self::NoSize => f.write_str("the answer of status 409 does not tell a size"),
            Self::TooManyRetries => {
                f.write_str("the witness told another size again and again; others submit too")
            }
            Self::Cosignatures(error) => error.fmt(f),
        }
    }
}
