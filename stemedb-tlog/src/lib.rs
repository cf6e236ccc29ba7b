//! The transparent log of stemedb: signed checkpoints, proof files, policies, tiles and witnesses.
//!
//! The history tree of a log becomes one that strangers check with tools of their own: the formats
//! are those of C2SP wherever it has some, and `docs/transparency-spec.md` has the rest. Nothing
//! here reads, writes, waits, asks for the time or panics; `no_std` with `alloc`. A program that
//! verifies proofs needs this crate and no store.
//!
//! What parses is *unverified*, and shows nothing until it is verified against keys or a policy:
//! types say which. An error is [`Malformed`](malformed::Malformed) if the bytes do not follow
//! their format, and [`Refused`](refused::Refused) if they do and do not verify. What errors print
//! is escaped.
//!
//! | module | holds |
//! |---|---|
//! | [`note`], [`vkey`], [`key_file`], [`signer`] | signed notes, keys, and signing apart from the key |
//! | [`checkpoint`], [`signed_checkpoint`] | heads of logs, their signatures and cosignatures |
//! | [`policy`], [`time_limits`] | trusted logs and witnesses, quorums, ages of cosignatures |
//! | [`proof_file`], [`heads`], [`absence`] | that an entry is in a log, or an id not among its first entries |
//! | [`tile_path`], [`tile`], [`entry_bundle`] | tiles, each checked against its parent before it is used |
//! | [`witness`] | requests, decisions and answers of witnesses, and the client's side |
//! | [`fence`] | whether a log may sign, so that a copy or a backup does not |
//! | [`fork`], [`monitor`] | evidence of two histories, and the verdict about a log |
//! | [`attestation`], [`audit`] | erasure receipts, key rotations, audits and their reports |
//!
//! # Verifying a proof offline
//!
//! ```
//! use stemedb_merkle::AssertionId;
//! use stemedb_tlog::{policy::Policy, proof_file::UnverifiedProof, time_limits::TimeLimits};
//!
//! // Whom to trust: a log, and a witness that must have seen the same history as everybody.
//! let policy = Policy::parse(
//!     b"log log.example.com/vectors+cdc17c4f+AZ/f9R1wgYsT5JVAjIY+lNFq5HfoYQBy9mU1iZ6skJH7\n\
//!       witness w1 witness.example.com/w1+cf16bf52+BI/QKwpderYwr2zvvqJbA6Noh5MuXwvXkJhL0IwX5kYm\n\
//!       quorum w1\n",
//! )?;
//! // The contents of a `.tlog-proof`.
//! let file = "c2sp.org/tlog-proof@v1
//! extra ZVPxAwAAAAA=
//! index 3
//! IDdzIlRvnfwcIyn6Sv7YOYRrnDMK/HCbJkfjvkWQ0dQ=
//! pzjLZb0gJ0WKZqW/m4/CTzBPxMoV3nKQpLJWW+pvPew=
//! 9S+GjY7YR9BKs4EpRFCghw2dXzsUdp30O/mKyAWF/og=
//! V22IOKQEBuMPYUuOoDXXHF4jYIewGHxkRyHWOsbAJ1Q=
//!
//! log.example.com/vectors
//! 9
//! vNmebdh/g0P011UH6nFNYQmucV8V7+pQHjAw+nZBqdg=
//!
//! — log.example.com/vectors \
//!     zcF8T9r1hggoa8jvqCI1sUFiEZZZzWIXEdcONHCTAh8Et+vhLuUIYxUva1G4ERaXMAORBCu3m86eMIRD\
//!     yIKHqWGqogo=
//! — witness.example.com/w1 \
//!     zxa/UgAAAABlU/EATOCLb+e4AkX96subjrfs4W/Iwm0gS8ZYwA7Fa4ByRw0hgT4Tta0AA8TNffrjIDVO\
//!     Zq6sCRtJNtS0p9Vp4QJ2CA==
//! ";
//! // The id comes from the body, never from the file.
//! let id = AssertionId(*blake3::hash(b"3").as_bytes());
//! let proof = UnverifiedProof::parse(file.as_bytes())?;
//! let entry = proof.verify(&policy, id, &TimeLimits::at(1_700_000_100))?;
//! assert_eq!(entry.index.0, 3);
//! assert_eq!(entry.time.unix().0, 1_700_000_003);
//! assert_eq!(entry.checkpoint.cosignatures().len(), 1);
//!
//! // Another body is not in the log.
//! let other = AssertionId(*blake3::hash(b"4").as_bytes());
//! let proof = UnverifiedProof::parse(file.as_bytes())?;
//! assert!(proof.verify(&policy, other, &TimeLimits::at(1_700_000_100)).is_err());
//! # Ok::<(), stemedb_tlog::error::Error>(())
//! ```
//!
//! # Features
//!
//! None is on by default.
//!
//! - `ml-dsa`: keys and cosignatures of ML-DSA-44 (FIPS 204). Without it such keys are malformed,
//!   and their lines are those of unknown keys.
//! - `sealed`: bodies that are encrypted under a key that can be destroyed.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod absence;
pub mod attestation;
pub mod audit;
mod base64;
pub mod checkpoint;
mod cosignature;
mod ed25519;
pub mod entry_bundle;
pub mod error;
pub mod escaped;
pub mod fence;
pub mod fork;
pub mod format;
pub mod heads;
mod hex;
pub mod key_file;
pub mod key_id;
pub mod key_type;
pub mod limits;
mod lines;
pub mod malformed;
#[cfg(feature = "ml-dsa")]
mod ml_dsa_44;
pub mod monitor;
pub mod name;
pub mod note;
pub mod note_signature;
pub mod policy;
pub mod proof_file;
pub mod refusal;
pub mod refused;
#[cfg(feature = "sealed")]
pub mod sealed;
mod signature_line;
pub mod signed_checkpoint;
pub mod signer;
pub mod tile;
pub mod tile_path;
pub mod time_limits;
pub mod vkey;
pub mod witness;
