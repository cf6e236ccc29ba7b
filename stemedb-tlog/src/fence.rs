//! Fences: the newest signed head of a log, kept where a rollback of the store does not reach.
//!
//! ```text
//! stemedb.dev/fence@v1
//! store <32 lowercase hex digits>
//! node <32 lowercase hex digits>
//! epoch <n>
//! state active|retired
//! note <bytes>                    then the checkpoint as the log signed it
//! ```
//!
//! A store keeps the same bytes as its *record*. Before each signature [`decide`] holds the log,
//! the record and the fence against one another.

mod decision;

use alloc::{borrow::ToOwned, string::String};
use core::fmt;

use stemedb_merkle::id::to_hex;

pub use decision::{FenceDecision, FenceRead, Signing, decide};

use crate::{
    checkpoint::Extensions,
    format::Format,
    hex,
    limits::EVIDENCE_LEN_MAX,
    lines::{Lines, number, push_part},
    malformed::Malformed,
    name::KeyName,
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
};

/// The first line of a fence.
const FIRST_LINE: &str = "stemedb.dev/fence@v1";

/// Who signs: the store, the copy of it, and the copy's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignerIdentity {
    /// The id of the store, which copies share.
    pub store: [u8; 16],
    /// The id of the node, which copies share until one of them continues.
    pub node: [u8; 16],
    /// The epoch of the node's log.
    pub epoch: u64,
}

/// State of a log's signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignerState {
    /// It signs.
    Active,
    /// It never signs again.
    Retired,
}

/// A fence, or a store's record of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Who has signed last.
    pub signer: SignerIdentity,
    /// Whether the log still signs.
    pub state: SignerState,
    /// The note of the newest head, as it is in the file.
    note: String,
    /// The same, read and not verified.
    checkpoint: UnverifiedCheckpoint,
}

impl Fence {
    /// The fence of a head that was signed.
    ///
    /// # Errors
    ///
    /// If the note that it makes is longer than any: it has lines of too many keys.
    pub fn new(
        signer: SignerIdentity,
        state: SignerState,
        head: &SignedCheckpoint,
    ) -> Result<Self, Malformed> {
        let note = head.to_log_note();
        let checkpoint = UnverifiedCheckpoint::parse(note.as_bytes(), Extensions::Refuse)?;
        Ok(Self { signer, state, note, checkpoint })
    }

    /// Reads a fence.
    ///
    /// # Errors
    ///
    /// If it is malformed.
    pub fn parse(file: &[u8]) -> Result<Self, Malformed> {
        let mut lines = Lines::of_file(file, EVIDENCE_LEN_MAX, Format::Fence)?;
        lines.literal(FIRST_LINE, "expected `stemedb.dev/fence@v1`")?;
        let rule = "expected `store` and 32 lowercase hex digits";
        let store_id = lines.field("store", rule, hex::decode)?;
        let rule = "expected `node` and 32 lowercase hex digits";
        let node_id = lines.field("node", rule, hex::decode)?;
        let rule = "expected `epoch` and a decimal number below 2^63";
        let epoch = lines.field("epoch", rule, number)?;
        let rule = "expected `state`, and `active` or `retired`";
        let state = lines.field("state", rule, |state| match state {
            b"active" => Some(SignerState::Active),
            b"retired" => Some(SignerState::Retired),
            _ => None,
        })?;
        let (note, place) = lines.part("note", "expected `note` and a number of bytes")?;
        lines.end()?;
        let checkpoint = UnverifiedCheckpoint::parse_at(note, place, Extensions::Refuse)?;
        let rule = "the note is not UTF-8";
        let note = str::from_utf8(note)
            .map_err(|_| Malformed { format: Format::Fence, place, rule })?
            .to_owned();
        Ok(Self {
            signer: SignerIdentity { store: store_id, node: node_id, epoch },
            state,
            note,
            checkpoint,
        })
    }

    /// The bytes of the fence.
    pub fn write(&self) -> String {
        let Self { signer, state, note, .. } = self;
        let (store_id, node_id) = (to_hex(signer.store), to_hex(signer.node));
        let epoch = signer.epoch;
        let mut file = alloc::format!(
            "{FIRST_LINE}\nstore {store_id}\nnode {node_id}\nepoch {epoch}\nstate {state}\n"
        );
        push_part(&mut file, "note", note);
        file
    }

    /// The checkpoint.
    pub const fn checkpoint(&self) -> &UnverifiedCheckpoint {
        &self.checkpoint
    }

    /// Name of the fence of a log in its directory, or under its prefix on object storage.
    pub fn file_name(origin: &KeyName) -> String {
        alloc::format!("{}.fence", origin.sha256_hex())
    }

    /// Name of the lock beside the fence in a directory.
    pub fn lock_name(origin: &KeyName) -> String {
        alloc::format!("{}.lock", origin.sha256_hex())
    }

    /// Name of the record in the store.
    pub fn record_name(origin: &KeyName) -> String {
        alloc::format!("signer-{}", origin.sha256_hex())
    }
}

impl fmt::Display for SignerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Retired => "retired",
        })
    }
}
