//! Checkpoints under a policy.

use alloc::boxed::Box;

use super::Policy;
use crate::{
    format::Format,
    limits::FUTURE_MAX,
    malformed::{Malformed, Place},
    note_signature::NoteSignature,
    refusal::Refusal,
    refused::Refused,
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
    time_limits::TimeLimits,
    vkey::VerifierKey,
};

impl Policy {
    /// Verifies a checkpoint: the signature of its log, all known cosignatures and their times, and
    /// the quorum.
    ///
    /// # Errors
    ///
    /// If the policy does not trust the log, a line of a known key does not verify, none of the
    /// log's keys has signed, a known cosignature is ahead of the clock, or the quorum is not met.
    pub fn verify_checkpoint(
        &self,
        checkpoint: UnverifiedCheckpoint,
        limits: &TimeLimits,
    ) -> Result<SignedCheckpoint, Refused> {
        let checkpoint = self.verify_signatures(checkpoint)?;
        self.check_quorum(&checkpoint, limits)?;
        Ok(checkpoint)
    }

    /// Verifies the signatures of a checkpoint, and no more: no times, no quorum.
    ///
    /// # Errors
    ///
    /// If the policy does not trust the log, a line of a known key does not verify, or none of the
    /// log's keys has signed.
    pub fn verify_signatures(
        &self,
        checkpoint: UnverifiedCheckpoint,
    ) -> Result<SignedCheckpoint, Refused> {
        let logs = self.logs().iter().map(|log| &log.key);
        checkpoint.verify_keys(logs, self.witnesses().iter().map(|witness| &witness.key))
    }

    /// Checks the times of a checkpoint's cosignatures, and the quorum.
    ///
    /// # Errors
    ///
    /// If a cosignature is ahead of the clock, or the quorum is not met.
    pub fn check_quorum(
        &self,
        checkpoint: &SignedCheckpoint,
        limits: &TimeLimits,
    ) -> Result<(), Refused> {
        for signature in checkpoint.log_signatures().iter().chain(checkpoint.cosignatures()) {
            // A signature over the text alone has none.
            let Some(time) = signature.time() else { continue };
            if time > limits.now.saturating_add(FUTURE_MAX) {
                let name = Box::new(signature.key().name().clone());
                return Err(Refusal::CosignatureAhead { name, time, now: limits.now }.into());
            }
        }
        let counts = |key: &VerifierKey| {
            let of_key = checkpoint.cosignatures().iter().find(|line| line.key() == key);
            of_key.and_then(NoteSignature::quorum_time).is_some_and(|time| limits.count(time))
        };
        if self.is_met(|witness| counts(&witness.key)) {
            return Ok(());
        }
        let counted = self.witnesses().iter().filter(|witness| counts(&witness.key)).count();
        Err(Refusal::QuorumNotMet { counted }.into())
    }

    /// The policy of a verifier names a log.
    pub(crate) fn require_log(&self) -> Result<(), Malformed> {
        if self.logs().is_empty() {
            let rule = "the policy names no log: add a line `log`";
            return Err(Malformed { format: Format::Policy, place: Place::START, rule });
        }
        Ok(())
    }
}
