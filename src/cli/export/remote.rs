//! Bodies of a served store, in the order of its log.

use std::ops::RangeInclusive;

use stemedb::rpc::client::Watched;
use stemedb::rpc::{CallError, Reason, Which};
use stemedb::{Entry, LogIndex};

use super::Exporter;
use crate::cli::body_id::BodyHasher;
use crate::cli::failure::Failure;
use crate::cli::peer::Remote;
use crate::cli::range::RangeArgs;

/// Hands all bodies of a range to the exporter, each checked against its id. One that is damaged is
/// noted, and the rest is asked for again from behind it.
pub(super) fn export(
    remote: &Remote,
    range: &RangeArgs,
    hasher: BodyHasher,
    exporter: &mut Exporter,
) -> Result<(), Failure> {
    let Some(indexes) = indexes(remote, range)? else { return Ok(()) };
    let mut from = *indexes.start();
    exporter.bar.set_length(indexes.end().get() - from.get() + 1);
    while indexes.contains(&from) {
        match export_from(remote, &mut from, &indexes, hasher, exporter) {
            Err(Failure::Call(error)) if error.reason() == Some(Reason::Damaged) => {
                exporter.note_damage(&DamagedThere { index: from, error });
                from += 1;
            }
            done => return done,
        }
    }
    Ok(())
}

/// A body that a server cannot read.
#[derive(Debug, thiserror::Error)]
#[error("entry {index}: {error}")]
struct DamagedThere {
    index: LogIndex,
    error: CallError,
}

/// Exports from an entry on; `next` is the one that comes next when it ends.
fn export_from(
    remote: &Remote,
    next: &mut LogIndex,
    indexes: &RangeInclusive<LogIndex>,
    hasher: BodyHasher,
    exporter: &mut Exporter,
) -> Result<(), Failure> {
    let wanted = Watched { from: *next, bodies: true, stop_at_end: true, ..Watched::default() };
    let mut watch = remote.client.watch(wanted);
    while let Some((entry, body)) = remote.wait_for(watch.next()).transpose()? {
        if !indexes.contains(&entry.index) {
            break;
        }
        let body = match body {
            Some(body) => Some(body),
            None if entry.hole => None,
            // It is too long to come with the entry.
            None => Some(body_of(remote, &entry)?),
        };
        if body.as_ref().is_some_and(|body| hasher.id(body) != entry.id) {
            return Err(Failure::WrongBody { id: entry.id });
        }
        exporter.take(&entry, body.as_deref())?;
        *next = entry.index + 1;
    }
    Ok(())
}

fn body_of(remote: &Remote, entry: &Entry) -> Result<Vec<u8>, Failure> {
    let found = remote.wait(remote.client.get(&Which::Id(entry.id), None))?;
    found.map(|(_, body)| body).ok_or_else(|| remote.not_there(&entry.id))
}

/// The first and the last index of a range, which times may bound.
fn indexes(
    remote: &Remote,
    range: &RangeArgs,
) -> Result<Option<RangeInclusive<LogIndex>>, Failure> {
    let end = |reverse| {
        let Some(range) = range.there(Some(1), reverse) else { return Ok(None) };
        let mut entries = remote.wait(remote.client.entries(&range))?;
        Ok::<_, Failure>(remote.wait(entries.next())?.map(|entry| entry.index))
    };
    Ok(match (end(false)?, end(true)?) {
        (Some(first), Some(last)) => Some(first..=last),
        _ => None,
    })
}
