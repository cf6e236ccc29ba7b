//! Times that a verifier sets for cosignatures.

/// Times that a verifier sets for cosignatures, in POSIX seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// The time of the clock. A known cosignature that is more than
    /// [`FUTURE_MAX`](crate::limits::FUTURE_MAX) ahead of it refuses the whole.
    pub now: u64,
    /// Age in seconds up to which a cosignature counts for the quorum.
    pub max_age: Option<u64>,
    /// Latest time of a cosignature that counts for the quorum.
    pub not_after: Option<u64>,
}

impl TimeLimits {
    /// Cosignatures of any time up to now.
    pub const fn at(now: u64) -> Self {
        Self { now, max_age: None, not_after: None }
    }

    /// Whether a cosignature of this time counts for a quorum.
    pub(crate) fn count(&self, time: u64) -> bool {
        let young = self.max_age.is_none_or(|age| time >= self.now.saturating_sub(age));
        young && self.not_after.is_none_or(|end| time <= end)
    }
}
