//! Status of a node, for the node service, `stemedb status`, the console, and metrics.
//!
//! The names here are those of the JSON, which only grows. Ids and roots are lowercase hex; times
//! are seconds since 1970 UTC; numbers of bytes are decimal strings.

use serde::{Deserialize, Serialize};
use stemedb_merkle::id::to_hex;
use stemedb_store::Head;

/// Defines an enum of words that JSON and metrics have, and one for those of later versions.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone,
            Copy,
            Debug,
            Default,
            PartialEq,
            Eq,
            Serialize,
            Deserialize,
            strum::Display,
            strum::IntoStaticStr,
        )]
        #[serde(rename_all = "kebab-case")]
        #[strum(serialize_all = "kebab-case")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word of another version.
            #[default]
            #[serde(other)]
            Unknown,
        }

        impl $name {
            /// All words that this version has, in the order of their numbers in the protocol, of
            /// which the first is 1.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
        }

        impl From<$name> for i32 {
            fn from(word: $name) -> Self {
                let numbers = (1..).zip($name::ALL);
                numbers.into_iter().find(|(_, known)| **known == word).map_or(0, |(n, _)| n)
            }
        }

        impl From<i32> for $name {
            fn from(number: i32) -> Self {
                let known = (1..).zip(Self::ALL).find(|(known, _)| *known == number);
                known.map_or(Self::Unknown, |(_, word)| *word)
            }
        }
    };
}

words! {
    /// Topic of a problem.
    ProblemCode {
        /// Nothing can be appended.
        Writer,
        /// Something that is held can't be read.
        Damage,
        /// The disk is nearly full.
        Disk,
        /// The node is about to stop.
        Stopping,
    }
}

words! {
    /// Reason for which no session begins.
    PauseReason {
        /// An operator asked for it.
        Asked,
        /// Appends are slow.
        Latency,
        /// It is not the time of the day.
        Window,
        /// The disk is nearly full.
        Disk,
    }
}

words! {
    /// State of a peer.
    PeerState {
        /// It answers.
        Alive,
        /// It did not answer lately.
        Suspect,
        /// It is gone.
        Down,
        /// It was named, and does not gossip.
        Named,
        /// It broke the protocol, and is left alone for a while.
        Quarantined,
        /// It has this node's id.
        DuplicateId,
        /// An address to join by that was never reached.
        Unreached,
        /// It said good-bye.
        Left,
    }
}

/// A node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The version of the program.
    pub version: String,
    /// The node's id, which a copy of its directory does not share.
    pub node: String,
    /// The store's id.
    pub store: String,
    /// The epoch of its log.
    pub epoch: u64,
    /// Where others reach it.
    pub address: String,
    /// Now.
    pub time: f64,
    /// How long it has been running.
    pub uptime_seconds: u64,
    /// Head of the store; absent while its trees can't be read, which `not_ready` explains.
    pub head: Option<HeadStatus>,
    /// Problems because of which it is not ready to serve clients; empty if it is.
    pub not_ready: Vec<Problem>,
    /// Whether another member is there; absent where there is no address to join by.
    pub joined: Option<bool>,
    /// State of sync.
    pub sync: SyncStatus,
    /// The other members, and peers that were named, by address.
    pub peers: Vec<PeerStatus>,
    /// Work of sessions by the first four bits of ids: 16 slices.
    pub slices: Vec<SliceStatus>,
    /// The disk that the store lies on.
    pub disk: DiskStatus,
    /// The check of all bodies in the background; absent if it is off.
    pub scrub: Option<ScrubStatus>,
    /// State of the archive; absent if there is none.
    pub archive: Option<ArchiveStatus>,
}

/// Head of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeadStatus {
    /// How many assertions.
    pub count: u64,
    /// The root over them.
    pub set_root: String,
    /// How many entries the log has.
    pub log_size: u64,
    /// The root over its history.
    pub log_root: String,
}

impl From<&Head> for HeadStatus {
    fn from(head: &Head) -> Self {
        Self {
            count: head.count,
            set_root: to_hex(head.set_root),
            log_size: head.log_size.get(),
            log_root: to_hex(head.log_root),
        }
    }
}

/// Something that an operator must look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Topic.
    pub code: ProblemCode,
    /// The problem, and what to do.
    pub text: String,
}

/// State of sync.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncStatus {
    /// Reason for which no session begins; absent if sessions begin.
    pub paused: Option<PauseReason>,
    /// Sessions that run.
    pub running: u64,
    /// Client-observed append latency of late, 99th percentile, in seconds.
    pub append_p99_seconds: Option<f64>,
}

/// Another node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    /// Where it is reached.
    pub address: String,
    /// Its id; absent until it was met.
    pub node: Option<String>,
    /// The version of its program.
    pub version: Option<String>,
    /// How it is seen.
    pub state: PeerState,
    /// How many assertions it said it holds.
    pub count: Option<u64>,
    /// The root that it said it has.
    pub set_root: Option<String>,
    /// Whether that root is this node's; absent while that is not known.
    pub in_step: Option<bool>,
    /// Age of the oldest entry that one of the two may lack: 0 if both hold the same; absent while
    /// that is not known.
    pub lag_seconds: Option<f64>,
    /// When a session with it last ended with both holding the same.
    pub last_repaired: Option<f64>,
    /// Sessions in a row that failed.
    pub failures: u64,
    /// When it is tried next, if it waits for that.
    pub retry_at: Option<f64>,
    /// The last session.
    pub last_session: Option<SessionStatus>,
    /// Reason of a quarantine, or of a duplicate id, or why it was never reached.
    pub remark: Option<String>,
    /// Entries of this node's log since both last held the same: what the peer lacks at most.
    /// Absent while that is not known.
    pub lag_entries: Option<u64>,
    /// Entries of the peer's log since then: what this node lacks at most.
    pub ahead_entries: Option<u64>,
}

/// A session that ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStatus {
    /// When it ended.
    pub time: f64,
    /// `complete`, or why it ended otherwise.
    pub outcome: String,
    /// The layer that settled it.
    pub layer: Option<String>,
    /// Bodies that came.
    pub fetched: u64,
    /// Bodies that went.
    pub pushed: u64,
    /// Bytes sent.
    #[serde(with = "crate::decimal")]
    pub bytes_sent: u64,
    /// Bytes received.
    #[serde(with = "crate::decimal")]
    pub bytes_received: u64,
    /// How long it took.
    pub millis: u64,
}

/// A part of all ids: those that begin with some bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SliceStatus {
    /// The bits, as hex digits.
    pub prefix: String,
    /// When it was last found or made equal with some peer.
    pub last_repaired: Option<f64>,
    /// Bytes of messages that compared it.
    #[serde(with = "crate::decimal")]
    pub bytes_compared: u64,
    /// Bytes of bodies that were moved for it.
    #[serde(with = "crate::decimal")]
    pub bytes_transferred: u64,
    /// How many sessions compared it.
    pub sessions: u64,
    /// In how many of them it differed.
    pub mismatches: u64,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskStatus {
    /// Bytes that are free.
    #[serde(with = "crate::decimal")]
    pub free: u64,
    /// Bytes that it has.
    #[serde(with = "crate::decimal")]
    pub total: u64,
    /// Free bytes below which the node is not ready.
    #[serde(with = "crate::decimal")]
    pub reserve: u64,
}

/// The check of all bodies in the background.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubStatus {
    /// How far the present pass is, in entries of the log.
    pub position: u64,
    /// When the present pass began.
    pub began: Option<f64>,
    /// When the last whole pass ended.
    pub last_pass: Option<f64>,
    /// Bodies found damaged since the node began.
    pub damaged: u64,
    /// Of those, how many were healed with what a peer has.
    pub healed: u64,
}

/// State of the archive.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArchiveStatus {
    /// Where.
    pub url: String,
    /// Entries of the log that are there.
    pub log_size: u64,
    /// When something was last sent there.
    pub last_sent: Option<f64>,
    /// Segments that are only there.
    pub dropped_segments: u64,
    /// The last error, if nothing went well since.
    pub error: Option<String>,
}
