//! The decision of a witness about a request.

use alloc::string::String;

use stemedb_merkle::{
    LogSize,
    history::{EMPTY_ROOT, TreeHead},
};

use super::{request::WitnessRequest, stored::CosignedHead};
use crate::{
    refused::Refused,
    signed_checkpoint::SignedCheckpoint,
    signer::{SignError, Signer},
    vkey::VerifierKey,
};

/// Decision about a request that parses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Status 404: no key of this origin is known.
    UnknownOrigin,
    /// Status 403: no trusted key of the origin has signed, or one of them does not verify. The
    /// answer must not tell the size that is stored.
    Forbidden(Refused),
    /// Status 409: the old size is not the one that is stored, which the answer tells.
    OtherSize {
        /// The size that is stored, 0 if nothing is.
        stored: LogSize,
        /// The head, if its log has thereby signed two roots at one size.
        conflict: Option<Conflict>,
    },
    /// Status 422: the log has signed a head that does not follow from the one that is stored, or
    /// the proof does not show that it does.
    Inconsistent(Conflict),
    /// Status 503: the clock is before the last cosignature for this origin.
    ClockBehind,
    /// Status 200, after [`Accepted::cosign`].
    Accepted(Accepted),
}

/// A head that its log has signed and that the witness has not cosigned. Kept as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// Whether it contradicts the stored head by itself: another root at the same size, or a root
    /// of no entries that is not the empty one. Otherwise anybody may have sent a wrong proof along
    /// with a head that is sound, so that these must not crowd out the others.
    pub proven: bool,
}

/// A head that may be cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    checkpoint: SignedCheckpoint,
    now: u64,
}

impl Decision {
    /// The HTTP status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::UnknownOrigin => 404,
            Self::Forbidden(_) => 403,
            Self::OtherSize { .. } => 409,
            Self::Inconsistent(_) => 422,
            Self::ClockBehind => 503,
            Self::Accepted(_) => 200,
        }
    }
}

/// Decides about a request, from the keys of its origin that are trusted and the head that was
/// cosigned last for it. `now` is in POSIX seconds.
///
/// From the lookup of `stored` until the head that was cosigned is durable, nobody else decides for
/// the same origin.
pub fn decide(
    request: WitnessRequest,
    log_keys: &[VerifierKey],
    stored: Option<&CosignedHead>,
    now: u64,
) -> Decision {
    let WitnessRequest { old, proof, checkpoint } = request;
    let origin = checkpoint.unverified_origin();
    if !log_keys.iter().any(|key| key.name() == origin) {
        return Decision::UnknownOrigin;
    }
    let checkpoint = match checkpoint.verify(log_keys, &[]) {
        Ok(checkpoint) => checkpoint,
        Err(refused) => return Decision::Forbidden(refused),
    };
    let none = TreeHead { size: LogSize(0), root: EMPTY_ROOT };
    let last = stored.map_or(none, |stored| stored.head);
    let new = *checkpoint.head();
    if old != last.size {
        let forked = new.size == last.size && new.root != last.root;
        let conflict = forked.then_some(Conflict { checkpoint, proven: true });
        return Decision::OtherSize { stored: last.size, conflict };
    }
    // Sizes that are equal or 0 take no hashes; a head of size 0 has the empty root.
    if proof.verify(&last, &new).is_err() {
        let empty = new.size.0 == 0 && new.root != EMPTY_ROOT;
        let proven = empty || new.size == last.size && new.root != last.root;
        return Decision::Inconsistent(Conflict { checkpoint, proven });
    }
    if stored.is_some_and(|stored| now < stored.time) || now == 0 {
        return Decision::ClockBehind;
    }
    Decision::Accepted(Accepted { checkpoint, now })
}

impl Accepted {
    /// Cosigns the head by the keys of the witness, and gives what must be stored, durably, before
    /// the body of the answer goes out.
    ///
    /// # Errors
    ///
    /// If a key is not one of a witness, or cannot sign.
    pub fn cosign<S: Signer + ?Sized>(
        self,
        signers: &[&S],
    ) -> Result<(CosignedHead, String), SignError<S::Error>> {
        let mut body = String::new();
        for signer in signers {
            body.push_str(&self.checkpoint.cosign(*signer, self.now)?);
        }
        let note = self.checkpoint.to_log_note() + &body;
        Ok((CosignedHead { head: *self.checkpoint.head(), time: self.now, note }, body))
    }
}
