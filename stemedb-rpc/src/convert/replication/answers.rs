//! Answers.

use stemedb_sync::message::{
    Answer, Bodies, BodiesEnd, CursorState, Echo, Finished, Ids, Pushed, Response, Subtrees,
    Symbols, Welcome,
};

use super::{array, array_or_zeros, echo, required, unless_zeros};
use crate::Malformed;
use crate::{
    compress::{Part, PartCompressor},
    proto::v1::{self, hello_response},
};

impl From<(Echo, Welcome)> for v1::Welcome {
    fn from((echo, welcome): (Echo, Welcome)) -> Self {
        let Welcome { version, node, epoch, nonce, proof, set, log, time, cursor, symbols } =
            welcome;
        Self {
            echo: Some(echo.into()),
            version,
            node: node.to_vec(),
            epoch,
            nonce: unless_zeros(&nonce),
            proof: proof.to_vec(),
            set: set.map(Into::into),
            log: Some(log.into()),
            time,
            cursor: cursor.number().into(),
            symbols,
        }
    }
}

impl TryFrom<v1::Welcome> for Response {
    type Error = Malformed;

    fn try_from(message: v1::Welcome) -> Result<Self, Malformed> {
        // A value that a later version has is skipped.
        let cursor = CursorState::from_number(u8::try_from(message.cursor).unwrap_or(u8::MAX));
        let welcome = Welcome {
            version: message.version,
            node: array("node", &message.node)?,
            epoch: message.epoch,
            nonce: array_or_zeros("nonce", &message.nonce)?,
            proof: array("proof", &message.proof)?,
            set: message.set.map(TryInto::try_into).transpose()?,
            log: required("log", message.log)?,
            time: message.time,
            cursor,
            symbols: message.symbols,
        };
        Ok(Self { echo: echo(message.echo)?, answer: Answer::Welcome(welcome) })
    }
}

impl From<(Echo, Symbols)> for v1::SymbolsResponse {
    fn from((echo, Symbols { from, symbols, last }): (Echo, Symbols)) -> Self {
        Self { echo: Some(echo.into()), symbols, from, last }
    }
}

impl TryFrom<v1::SymbolsResponse> for Response {
    type Error = Malformed;

    fn try_from(message: v1::SymbolsResponse) -> Result<Self, Malformed> {
        let v1::SymbolsResponse { echo, symbols, from, last } = message;
        let answer = Answer::Symbols(Symbols { from, symbols, last });
        Ok(Self { echo: super::echo(echo)?, answer })
    }
}

impl From<(Echo, Welcome)> for v1::HelloResponse {
    fn from(welcome: (Echo, Welcome)) -> Self {
        Self { part: Some(hello_response::Part::Welcome(welcome.into())) }
    }
}

impl From<(Echo, Symbols)> for v1::HelloResponse {
    fn from(symbols: (Echo, Symbols)) -> Self {
        Self { part: Some(hello_response::Part::Symbols(symbols.into())) }
    }
}

impl v1::HelloResponse {
    /// Its meaning; `None` if that is something that this version does not know, which is skipped.
    pub(crate) fn known(self) -> Result<Option<Response>, Malformed> {
        match self.part {
            Some(hello_response::Part::Welcome(welcome)) => welcome.try_into().map(Some),
            Some(hello_response::Part::Symbols(symbols)) => symbols.try_into().map(Some),
            None => Ok(None),
        }
    }
}

impl From<(Echo, Ids)> for v1::IdsResponse {
    fn from((echo, Ids { suffixes }): (Echo, Ids)) -> Self {
        Self { echo: Some(echo.into()), suffixes }
    }
}

impl TryFrom<v1::IdsResponse> for Response {
    type Error = Malformed;

    fn try_from(message: v1::IdsResponse) -> Result<Self, Malformed> {
        let v1::IdsResponse { echo, suffixes } = message;
        Ok(Self { echo: super::echo(echo)?, answer: Answer::Ids(Ids { suffixes }) })
    }
}

impl From<(Echo, Subtrees)> for v1::DescendResponse {
    fn from((echo, Subtrees { subtrees }): (Echo, Subtrees)) -> Self {
        Self { echo: Some(echo.into()), subtrees }
    }
}

impl TryFrom<v1::DescendResponse> for Response {
    type Error = Malformed;

    fn try_from(message: v1::DescendResponse) -> Result<Self, Malformed> {
        let v1::DescendResponse { echo, subtrees } = message;
        Ok(Self { echo: super::echo(echo)?, answer: Answer::Subtrees(Subtrees { subtrees }) })
    }
}

/// A part of bodies as it travels: compressed if the initiator takes that.
pub(crate) fn bodies_message(
    echo: Echo,
    bodies: Bodies,
    compressor: Option<&mut PartCompressor>,
) -> v1::BodiesResponse {
    let Bodies { part, bytes, end } = bodies;
    let Part { bytes, len } = match compressor {
        Some(compressor) => compressor.compress(bytes),
        None => Part { bytes, len: 0 },
    };
    let end = end.map(|BodiesEnd { processed }| v1::BodiesEnd { processed });
    v1::BodiesResponse { echo: Some(echo.into()), part, bytes, len, end }
}

impl TryFrom<v1::BodiesResponse> for Response {
    type Error = Malformed;

    fn try_from(message: v1::BodiesResponse) -> Result<Self, Malformed> {
        let v1::BodiesResponse { echo, part, bytes, len, end } = message;
        let bytes = Part { bytes, len }.expand()?;
        let end = end.map(|v1::BodiesEnd { processed }| BodiesEnd { processed });
        let answer = Answer::Bodies(Bodies { part, bytes, end });
        Ok(Self { echo: super::echo(echo)?, answer })
    }
}

impl From<(Echo, Pushed)> for v1::PushResponse {
    fn from((echo, Pushed { appended, duplicates }): (Echo, Pushed)) -> Self {
        Self { echo: Some(echo.into()), appended, duplicates }
    }
}

impl TryFrom<v1::PushResponse> for Response {
    type Error = Malformed;

    fn try_from(message: v1::PushResponse) -> Result<Self, Malformed> {
        let v1::PushResponse { echo, appended, duplicates } = message;
        let answer = Answer::Pushed(Pushed { appended, duplicates });
        Ok(Self { echo: super::echo(echo)?, answer })
    }
}

impl From<(Echo, Finished)> for v1::FinishResponse {
    fn from((echo, Finished { checked, set, log }): (Echo, Finished)) -> Self {
        Self { echo: Some(echo.into()), checked, set: Some(set.into()), log: Some(log.into()) }
    }
}

impl From<(Echo, ())> for v1::LeaveResponse {
    fn from((echo, ()): (Echo, ())) -> Self {
        Self { echo: Some(echo.into()) }
    }
}

impl TryFrom<v1::LeaveResponse> for Response {
    type Error = Malformed;

    fn try_from(message: v1::LeaveResponse) -> Result<Self, Malformed> {
        Ok(Self { echo: echo(message.echo)?, answer: Answer::Left })
    }
}

impl TryFrom<v1::FinishResponse> for Response {
    type Error = Malformed;

    fn try_from(message: v1::FinishResponse) -> Result<Self, Malformed> {
        let finished = Finished {
            checked: message.checked,
            set: required("set", message.set)?,
            log: required("log", message.log)?,
        };
        Ok(Self { echo: echo(message.echo)?, answer: Answer::Finished(finished) })
    }
}
