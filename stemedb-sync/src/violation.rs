//! Violations of the protocol by a peer.

use crate::codec::CodecError;

/// How a peer broke the protocol. None of it happens by bad luck on the way: the transport keeps
/// messages whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// It answered in another version than it was asked in.
    #[error("it answers in another version of the protocol")]
    Version,
    /// It does not have the secret.
    #[error("it has another cluster secret, or only one of the two has any")]
    Secret,
    /// It says that it holds more than anybody can.
    #[error("it says that it holds {0} ids or log entries")]
    Count(u64),
    /// It answered a request that was never sent.
    #[error("it answers a request that was never sent")]
    Unasked,
    /// It answered with something else than what was asked for.
    #[error("it answers with another message than the one asked for")]
    Kind,
    /// It answered from another snapshot.
    #[error("it answers from another snapshot than the session's")]
    Snapshot,
    /// What it sends is no message, as the transport says.
    #[error("it sends what is no message of the protocol")]
    Message,
    /// A list in a message does not parse.
    #[error("a message does not parse: {0}")]
    Malformed(CodecError),
    /// A message is longer than allowed.
    #[error("a message is longer than the limit")]
    TooLarge,
    /// An answer does not bring the session on.
    #[error("an answer is empty")]
    Empty,
    /// An answer has more in it than was asked for.
    #[error("an answer holds more than was asked for")]
    Surplus,
    /// An answer does not have an item for each id that it counts.
    #[error("an answer counts other items than it has")]
    ItemCount,
    /// What it says lies below a subtree does not have the subtree's hash.
    #[error("what it says lies below a subtree does not have that subtree's hash")]
    Hash,
    /// It says that several ids share all bits.
    #[error("it says that a subtree goes on below the last bit")]
    Depth,
    /// It named more ids than it said it holds.
    #[error("it names more ids than it said it holds")]
    TooManyIds,
    /// What it says it holds does not have the root that it announced.
    #[error("what it says it holds does not have the root that it announced")]
    Root,
    /// It sent a body that was not asked for, or whose bytes are not those of any id asked for.
    #[error("it sends a body that was not asked for")]
    Body,
    /// It sent a body twice.
    #[error("it sends a body twice")]
    BodyTwice,
    /// It holds less at the end than at the beginning, or than it was given.
    #[error("it says at the end that it holds less than before, or than it was given")]
    Shrunk,
    /// What it says of a push is not what was pushed.
    #[error("it counts other bodies than it was given")]
    Pushed,
}

impl From<CodecError> for ProtocolViolation {
    fn from(error: CodecError) -> Self {
        Self::Malformed(error)
    }
}
