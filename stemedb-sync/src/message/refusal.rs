//! Refusals of a responder.

use crate::memory::Exhausted;

/// Reason for which a responder does not answer a request. The numbers are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// 1: another version of the protocol.
    #[error("the peer speaks another version of the protocol; update the older of the two")]
    Version,
    /// 2: the proof is wrong.
    #[error("the peer has another cluster secret, or only one of the two has any")]
    Secret,
    /// 3: the initiator has the responder's own node id.
    #[error("the peer is this very store; there is nothing to sync")]
    Itself,
    /// 4: the MAC is wrong: somebody else's session, a replayed one, or a message that was changed
    /// on its way.
    #[error("the peer does not take this request for part of the session; start a new one")]
    Token,
    /// 5: the session or its snapshot is no longer there.
    #[error("the peer no longer has the snapshot of this session; start a new one")]
    SnapshotGone,
    /// 6: as many sessions are open as may be.
    #[error("the peer has as many sessions open as it allows; try again later")]
    Busy,
    /// 7: the request, or each possible answer, is over the limit of a message.
    #[error("the request is larger than the peer allows; lower the limits")]
    TooLarge,
    /// 8: the request does not parse.
    #[error("the peer could not read a request; one of the two has a fault")]
    Malformed,
    /// 9: the session has used up what it may use of something.
    #[error("the session has used up what the peer allows it")]
    OverLimit,
    /// 10: what is asked about is not in the snapshot.
    #[error("the peer was asked about something that its snapshot does not hold")]
    Unknown,
    /// 11: what is asked about can't be read from the disk.
    #[error("the peer's store is damaged; check and repair it there")]
    Damaged,
    /// 12: the store can't append: its disk is full, or a sync failed.
    #[error("the peer's store takes no bodies at present; see its own messages")]
    ReadOnly,
    /// 13: the server is on its way out.
    #[error("the peer is shutting down; try again later")]
    Closing,
    /// 14: another session of this id is open. Ids are random, so that this happens only where a
    /// seed was used twice.
    #[error("the peer has another session open under the same id; start one with a new seed")]
    Taken,
    /// 15: all sessions of the responder together hold as much memory as they may.
    #[error("the sessions of the peer hold as much memory as it allows; try again later")]
    Memory,
    /// 16: the responder has begun a session with the initiator, and that one goes on.
    #[error("the peer is busy with a session of its own with this store")]
    BusyWithYou,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Version,
        Self::Secret,
        Self::Itself,
        Self::Token,
        Self::SnapshotGone,
        Self::Busy,
        Self::TooLarge,
        Self::Malformed,
        Self::OverLimit,
        Self::Unknown,
        Self::Damaged,
        Self::ReadOnly,
        Self::Closing,
        Self::Taken,
        Self::Memory,
        Self::BusyWithYou,
    ];

    /// Its number.
    pub const fn code(self) -> u32 {
        match self {
            Self::Version => 1,
            Self::Secret => 2,
            Self::Itself => 3,
            Self::Token => 4,
            Self::SnapshotGone => 5,
            Self::Busy => 6,
            Self::TooLarge => 7,
            Self::Malformed => 8,
            Self::OverLimit => 9,
            Self::Unknown => 10,
            Self::Damaged => 11,
            Self::ReadOnly => 12,
            Self::Closing => 13,
            Self::Taken => 14,
            Self::Memory => 15,
            Self::BusyWithYou => 16,
        }
    }

    /// Its name in the protocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "VERSION",
            Self::Secret => "SECRET",
            Self::Itself => "ITSELF",
            Self::Token => "MAC",
            Self::SnapshotGone => "SNAPSHOT_GONE",
            Self::Busy => "SESSIONS",
            Self::TooLarge => "MESSAGE_TOO_LARGE",
            Self::Malformed => "MESSAGE_MALFORMED",
            Self::OverLimit => "OVER_LIMIT",
            Self::Unknown => "NOT_IN_SNAPSHOT",
            Self::Damaged => "STORE_DAMAGED",
            Self::ReadOnly => "READ_ONLY",
            Self::Closing => "CLOSING",
            Self::Taken => "SESSION_TAKEN",
            Self::Memory => "MEMORY",
            Self::BusyWithYou => "BUSY_WITH_YOU",
        }
    }

    /// The refusal of a number; `None` if this version knows none.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

impl From<Exhausted> for Refusal {
    fn from(_: Exhausted) -> Self {
        Self::Memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_number_of_its_own() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
        }
        assert_eq!(Refusal::from_code(0), None);
        assert_eq!(Refusal::from_code(17), None);
    }
}
