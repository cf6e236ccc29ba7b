//! Rules of the specification that no vector shows.

mod attestations;
mod client;
mod fences;
mod keys;
mod monitors;
mod policies;
mod proofs;
mod reports;
mod witness;

use std::convert::Infallible;

use stemedb_merkle::{LogSize, history::TreeHead};
use stemedb_tlog::{
    checkpoint::{Checkpoint, Extensions},
    key_file::PrivateKey,
    key_type::KeyType,
    name::KeyName,
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
    signer::Signer,
};

use crate::vectors::{ORIGIN, private_key, tree, verifier_key};

/// The checkpoint of the log of the vectors at a size.
fn checkpoint(size: u64) -> Checkpoint {
    let head = tree().head_at(LogSize(size)).unwrap();
    Checkpoint::new(KeyName::new(ORIGIN).unwrap(), head)
}

/// A checkpoint of another history.
fn forked(size: u64) -> Checkpoint {
    let head = TreeHead { size: LogSize(size), root: [7; 32].into() };
    Checkpoint::new(KeyName::new(ORIGIN).unwrap(), head)
}

fn sign(checkpoint: &Checkpoint) -> SignedCheckpoint {
    let note = checkpoint.sign(&[&private_key("log")], 0).unwrap();
    let note = UnverifiedCheckpoint::parse(note.as_bytes(), Extensions::Refuse).unwrap();
    note.verify(&[verifier_key("log")], &[]).unwrap()
}

/// A key with the seed of another, under a name of its own.
fn key(name: &str, key_type: KeyType, seed: u8) -> PrivateKey {
    PrivateKey::from_seed(KeyName::new(name).unwrap(), key_type, &[seed; 32]).unwrap()
}

/// The checkpoint with cosignatures of these keys, each at its time, as a note.
fn cosigned(signed: &SignedCheckpoint, by: &[(&PrivateKey, u64)]) -> String {
    let mut note = signed.to_note();
    for (key, time) in by {
        note += &signed.cosign(*key, *time).unwrap();
    }
    note
}

/// A signer whose signatures are wrong.
struct Faulty(PrivateKey);

impl Signer for Faulty {
    type Error = Infallible;

    fn key(&self) -> &stemedb_tlog::vkey::VerifierKey {
        self.0.key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Infallible> {
        let mut signature = self.0.sign(message)?;
        signature[3] ^= 1;
        Ok(signature)
    }
}
