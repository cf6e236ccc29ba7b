//! The messages of the replication service.

pub(crate) mod answers;
pub(crate) mod asks;

use stemedb_merkle::{
    Root,
    history::{LogSize, TreeHead},
};
use stemedb_sync::message::{Cursor, Echo, Envelope, SetHead};

use super::{array, array_or_zeros, unless_zeros};
use crate::Malformed;
use crate::proto::v1;

impl From<Envelope> for v1::Envelope {
    fn from(envelope: Envelope) -> Self {
        let Envelope { session, snapshot, request, mac } = envelope;
        Self { session: session.to_vec(), snapshot, request, mac: unless_zeros(&mac) }
    }
}

fn envelope(message: Option<v1::Envelope>) -> Result<Envelope, Malformed> {
    let v1::Envelope { session, snapshot, request, mac } =
        message.ok_or(Malformed::missing("envelope"))?;
    let session = array("envelope.session", &session)?;
    let mac = array_or_zeros("envelope.mac", &mac)?;
    Ok(Envelope { session, snapshot, request, mac })
}

impl From<Echo> for v1::Echo {
    fn from(echo: Echo) -> Self {
        let Echo { session, snapshot, request, mac } = echo;
        Self { session: session.to_vec(), snapshot, request, mac: unless_zeros(&mac) }
    }
}

fn echo(message: Option<v1::Echo>) -> Result<Echo, Malformed> {
    let v1::Echo { session, snapshot, request, mac } = message.ok_or(Malformed::missing("echo"))?;
    let (session, mac) = (array("echo.session", &session)?, array_or_zeros("echo.mac", &mac)?);
    Ok(Echo { session, snapshot, request, mac })
}

impl From<SetHead> for v1::SetHead {
    fn from(head: SetHead) -> Self {
        Self { count: head.count, root: head.root.0.to_vec() }
    }
}

impl TryFrom<v1::SetHead> for SetHead {
    type Error = Malformed;

    fn try_from(message: v1::SetHead) -> Result<Self, Malformed> {
        Ok(Self { count: message.count, root: Root(array("set.root", &message.root)?) })
    }
}

impl From<TreeHead> for v1::LogHead {
    fn from(head: TreeHead) -> Self {
        Self { size: head.size.0, root: head.root.0.to_vec() }
    }
}

impl TryFrom<v1::LogHead> for TreeHead {
    type Error = Malformed;

    fn try_from(message: v1::LogHead) -> Result<Self, Malformed> {
        Ok(Self { size: LogSize(message.size), root: Root(array("log.root", &message.root)?) })
    }
}

impl From<Cursor> for v1::Cursor {
    fn from(cursor: Cursor) -> Self {
        let Cursor { epoch, size, root } = cursor;
        Self { epoch, size, root: root.to_vec() }
    }
}

impl TryFrom<v1::Cursor> for Cursor {
    type Error = Malformed;

    fn try_from(message: v1::Cursor) -> Result<Self, Malformed> {
        let v1::Cursor { epoch, size, root } = message;
        Ok(Self { epoch, size, root: array("cursor.root", &root)? })
    }
}

/// A message that has to be there.
fn required<M, T: TryFrom<M, Error = Malformed>>(
    field: &'static str,
    message: Option<M>,
) -> Result<T, Malformed> {
    message.ok_or_else(|| Malformed::missing(field))?.try_into()
}

#[cfg(test)]
mod tests;
