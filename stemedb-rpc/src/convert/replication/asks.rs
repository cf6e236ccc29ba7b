//! Requests.

use stemedb_sync::message::{
    Ask, AskIds, AskSymbols, Descend, Envelope, Fetch, Finish, Hello, Push, Request, Tail, Wanted,
};

use super::{array, envelope, required};
use crate::Malformed;
use crate::{
    compress::Part,
    proto::v1::{self, fetch_request},
};

impl From<(Envelope, Hello)> for v1::HelloRequest {
    fn from((envelope, hello): (Envelope, Hello)) -> Self {
        let Hello { version, node, epoch, proof, set, time, cursor, symbols } = hello;
        Self {
            envelope: Some(envelope.into()),
            version,
            node: node.to_vec(),
            epoch,
            proof: proof.to_vec(),
            set: Some(set.into()),
            time,
            cursor: cursor.map(Into::into),
            symbols,
        }
    }
}

impl TryFrom<v1::HelloRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::HelloRequest) -> Result<Self, Malformed> {
        let v1::HelloRequest { version, epoch, time, symbols, .. } = message;
        let hello = Hello {
            version,
            node: array("node", &message.node)?,
            epoch,
            proof: array("proof", &message.proof)?,
            set: required("set", message.set)?,
            time,
            cursor: message.cursor.map(TryInto::try_into).transpose()?,
            symbols,
        };
        Ok(Self { envelope: envelope(message.envelope)?, ask: Ask::Hello(hello) })
    }
}

impl From<(Envelope, AskSymbols)> for v1::SymbolsRequest {
    fn from((envelope, AskSymbols { from, count }): (Envelope, AskSymbols)) -> Self {
        Self { envelope: Some(envelope.into()), from, count }
    }
}

impl TryFrom<v1::SymbolsRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::SymbolsRequest) -> Result<Self, Malformed> {
        let v1::SymbolsRequest { envelope, from, count } = message;
        let ask = Ask::Symbols(AskSymbols { from, count });
        Ok(Self { envelope: super::envelope(envelope)?, ask })
    }
}

impl From<(Envelope, AskIds)> for v1::IdsRequest {
    fn from((envelope, AskIds { prefixes }): (Envelope, AskIds)) -> Self {
        Self { envelope: Some(envelope.into()), prefixes }
    }
}

impl TryFrom<v1::IdsRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::IdsRequest) -> Result<Self, Malformed> {
        let v1::IdsRequest { envelope, prefixes } = message;
        Ok(Self { envelope: super::envelope(envelope)?, ask: Ask::Ids(AskIds { prefixes }) })
    }
}

impl From<(Envelope, Descend)> for v1::DescendRequest {
    fn from((envelope, Descend { nodes, levels, leaf_ids }): (Envelope, Descend)) -> Self {
        Self { envelope: Some(envelope.into()), nodes, levels: levels.into(), leaf_ids }
    }
}

impl TryFrom<v1::DescendRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::DescendRequest) -> Result<Self, Malformed> {
        let v1::DescendRequest { envelope, nodes, levels, leaf_ids } = message;
        let levels =
            u8::try_from(levels).map_err(|_| Malformed::new("levels", "must be 1 to 8"))?;
        let ask = Ask::Descend(Descend { nodes, levels, leaf_ids });
        Ok(Self { envelope: super::envelope(envelope)?, ask })
    }
}

impl From<(Envelope, Fetch)> for v1::FetchRequest {
    fn from((envelope, Fetch { wanted }): (Envelope, Fetch)) -> Self {
        let wanted = match wanted {
            Wanted::Ids(ids) => fetch_request::Wanted::Ids(ids),
            Wanted::Prefixes(prefixes) => fetch_request::Wanted::Prefixes(prefixes),
        };
        Self { envelope: Some(envelope.into()), wanted: Some(wanted), zstd: true }
    }
}

impl TryFrom<v1::FetchRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::FetchRequest) -> Result<Self, Malformed> {
        let wanted = match message.wanted.ok_or(Malformed::missing("wanted"))? {
            fetch_request::Wanted::Ids(ids) => Wanted::Ids(ids),
            fetch_request::Wanted::Prefixes(prefixes) => Wanted::Prefixes(prefixes),
        };
        Ok(Self { envelope: envelope(message.envelope)?, ask: Ask::Fetch(Fetch { wanted }) })
    }
}

impl From<(Envelope, Tail)> for v1::TailRequest {
    fn from((envelope, Tail { from, count }): (Envelope, Tail)) -> Self {
        Self { envelope: Some(envelope.into()), from, count, zstd: true }
    }
}

impl TryFrom<v1::TailRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::TailRequest) -> Result<Self, Malformed> {
        let v1::TailRequest { envelope, from, count, zstd: _ } = message;
        Ok(Self { envelope: super::envelope(envelope)?, ask: Ask::Tail(Tail { from, count }) })
    }
}

/// One part of a push as it travels; its bytes, compressed or not, apart from the rest.
pub(crate) fn push_message(
    envelope: Envelope,
    part: u32,
    bytes: Part,
    last: bool,
) -> v1::PushRequest {
    let Part { bytes, len } = bytes;
    v1::PushRequest { envelope: Some(envelope.into()), part, bytes, len, last }
}

impl TryFrom<v1::PushRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::PushRequest) -> Result<Self, Malformed> {
        let v1::PushRequest { envelope, part, bytes, len, last } = message;
        let bytes = Part { bytes, len }.expand()?;
        let ask = Ask::Push(Push { part, bytes, last });
        Ok(Self { envelope: super::envelope(envelope)?, ask })
    }
}

impl From<(Envelope, Finish)> for v1::FinishRequest {
    fn from((envelope, Finish { set, now }): (Envelope, Finish)) -> Self {
        let (set, now) = (set.map(Into::into), now.map(Into::into));
        Self { envelope: Some(envelope.into()), set, now }
    }
}

impl From<Envelope> for v1::LeaveRequest {
    fn from(envelope: Envelope) -> Self {
        Self { envelope: Some(envelope.into()) }
    }
}

impl TryFrom<v1::LeaveRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::LeaveRequest) -> Result<Self, Malformed> {
        Ok(Self { envelope: envelope(message.envelope)?, ask: Ask::Leave })
    }
}

impl TryFrom<v1::FinishRequest> for Request {
    type Error = Malformed;

    fn try_from(message: v1::FinishRequest) -> Result<Self, Malformed> {
        let v1::FinishRequest { envelope, set, now } = message;
        let set = set.map(TryInto::try_into).transpose()?;
        let now = now.map(TryInto::try_into).transpose()?;
        Ok(Self { envelope: super::envelope(envelope)?, ask: Ask::Finish(Finish { set, now }) })
    }
}
