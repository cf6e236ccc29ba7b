//! The labels of metrics. All values but the addresses of peers are words from here.

use std::fmt::{Error, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use stemedb_sync::{
    message::{Kind, Refusal},
    report::{Ending, Layer},
};

/// Origin of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Origin {
    /// A client.
    Client,
    /// Another node.
    Peer,
}

/// Result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// The body was held already.
    Held,
    /// There is no such assertion.
    Missing,
    /// It failed.
    Failed,
}

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Direction {
    /// To others.
    Sent,
    /// From others.
    Received,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum SessionOutcome {
    Complete,
    Incomplete,
    ProtocolViolation,
    Refused,
    Limit,
    Silent,
    Unreadable,
    Cancelled,
}

impl SessionOutcome {
    pub(super) fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Complete => Self::Complete,
            Ending::Incomplete => Self::Incomplete,
            Ending::ProtocolViolation(_) => Self::ProtocolViolation,
            Ending::Refused(_) => Self::Refused,
            Ending::Limit(_) => Self::Limit,
            Ending::Silent => Self::Silent,
            Ending::Unreadable => Self::Unreadable,
            Ending::Cancelled => Self::Cancelled,
        }
    }
}

/// The layer that settled a session, if one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LayerLabel(pub(super) Option<Layer>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KindLabel(pub(super) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReasonLabel(pub(super) Refusal);

/// Implements the encoding of label values that are words.
macro_rules! words {
    ($($label:ty: $value:ident => $word:expr;)*) => {$(
        impl EncodeLabelValue for $label {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), Error> {
                let $value = *self;
                encoder.write_str($word)
            }
        }
    )*};
}

words! {
    Origin: origin => origin.into();
    Outcome: outcome => outcome.into();
    Direction: direction => direction.into();
    SessionOutcome: outcome => outcome.into();
    LayerLabel: label => label.0.map_or("none", Layer::name);
    KindLabel: label => label.0.name();
    ReasonLabel: label => match label.0 {
        Refusal::Version => "version",
        Refusal::Secret => "secret",
        Refusal::Itself => "itself",
        Refusal::Token => "token",
        Refusal::SnapshotGone => "snapshot_gone",
        Refusal::Busy => "busy",
        Refusal::TooLarge => "too_large",
        Refusal::Malformed => "malformed",
        Refusal::OverLimit => "over_limit",
        Refusal::Unknown => "unknown",
        Refusal::Damaged => "damaged",
        Refusal::ReadOnly => "read_only",
        Refusal::Closing => "closing",
        Refusal::Taken => "taken",
        _ => "other",
    };
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AppendLabels {
    pub(super) origin: Origin,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OriginLabels {
    pub(super) origin: Origin,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SessionLabels {
    pub(super) outcome: SessionOutcome,
    pub(super) layer: LayerLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TrafficLabels {
    pub(super) kind: KindLabel,
    pub(super) direction: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BodyLabels {
    pub(super) direction: Direction,
    pub(super) held: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusalLabels {
    pub(super) reason: ReasonLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PeerSessionLabels {
    pub(super) peer: String,
    pub(super) outcome: SessionOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PeerTrafficLabels {
    pub(super) peer: String,
    pub(super) direction: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DirectionLabels {
    pub(super) direction: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CauseLabels {
    pub(super) reason: &'static str,
}
