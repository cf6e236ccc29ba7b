//! Reading for the console, as JSON.

use std::sync::{Arc, PoisonError};

use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stemedb_merkle::{AssertionId, Presence, ProofFile, id::to_hex};
use stemedb_rpc::{
    Backend,
    backend::{Failure, Which},
};
use tokio::time::timeout;

use super::{
    Site, View,
    cells::{self, DEPTHS},
    growth::SAMPLE_EVERY,
    refusal::Refusal,
};
use crate::status::unix_seconds;
use stemedb_store::{LogIndex, Store, Timestamp, error::ReadError};

/// Entries in one answer.
const ENTRIES_MAX: u64 = 200;
/// Entries in an answer that was not asked for a number.
const ENTRIES: u64 = 25;
/// Bytes of a body that are shown beside its entry.
const PREVIEW_LEN_MAX: usize = 120;
/// Longer bodies are not read for that.
const PREVIEWED_LEN_MAX: u64 = 16 << 10;
/// Bytes of a body that are shown when it is looked up.
const BODY_LEN_MAX: usize = 64 << 10;
/// Ids of a cell that are counted.
const COUNTED_MAX: usize = 1 << 20;

type Answer = Result<Json<Value>, Refusal>;

/// A number or a name in the path.
fn in_path<T>(asked: Result<Path<T>, PathRejection>) -> Result<T, Refusal> {
    asked.map(|Path(asked)| asked).map_err(|error| Refusal::malformed(error.body_text()))
}

fn in_query<T>(asked: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    asked.map(|Query(asked)| asked).map_err(|error| Refusal::malformed(error.body_text()))
}

/// The counts and roots of one moment.
pub(super) async fn head<V: View>(State(site): State<Arc<Site<V>>>) -> Answer {
    let head = site.read(|view| view.store().head()).await?.map_err(Failure::from)?;
    Ok(Json(json!({
        "count": head.count,
        "set_root": to_hex(&head.set_root),
        "log_size": head.log_size.get(),
        "log_root": to_hex(&head.log_root),
        "last_time": unix_seconds(head.last_time),
    })))
}

/// How the store grew in the last hour.
pub(super) async fn growth<V: View>(State(site): State<Arc<Site<V>>>) -> Answer {
    let growth = site.growth.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (counts, log_bytes) = growth.samples();
    let every = SAMPLE_EVERY.as_secs();
    Ok(Json(json!({ "every_seconds": every, "counts": counts, "log_bytes": log_bytes })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogAsked {
    from: Option<u64>,
    limit: Option<u64>,
}

/// A part of the log: from an entry on, or its end.
pub(super) async fn log<V: View>(
    State(site): State<Arc<Site<V>>>,
    asked: Result<Query<LogAsked>, QueryRejection>,
) -> Result<Json<LogPart>, Refusal> {
    let LogAsked { from, limit } = in_query(asked)?;
    let limit = limit.unwrap_or(ENTRIES).min(ENTRIES_MAX);
    let read = site.read(move |view| {
        let end = view.store().log_size().get();
        let from = from.unwrap_or_else(|| end.saturating_sub(limit)).min(end);
        entries(view.store(), from, from.saturating_add(limit))
    });
    Ok(Json(read.await?))
}

/// Some entries of a log.
#[derive(Debug, Serialize)]
pub(super) struct LogPart {
    /// How many entries the log has.
    size: u64,
    /// The value that was asked for.
    entries: Vec<EntryShown>,
    /// Whether one of them could not be read; those behind it are left out.
    damaged: bool,
}

#[derive(Debug, Serialize)]
struct EntryShown {
    index: u64,
    time: f64,
    id: String,
    len: u64,
    /// Whether the body is lost.
    hole: bool,
    /// How the body begins, if it is text.
    preview: Option<String>,
}

/// The entries of a range of indexes.
pub(super) fn entries(store: &Store, from: u64, to: u64) -> LogPart {
    let mut shown = Vec::new();
    let mut damaged = false;
    for entry in store.range(LogIndex(from)..LogIndex(to)) {
        let Ok(entry) = entry else {
            damaged = true;
            break;
        };
        let readable = !entry.hole && entry.len <= PREVIEWED_LEN_MAX;
        let body = readable.then(|| store.get(&entry.id).ok().flatten()).flatten();
        shown.push(EntryShown {
            index: entry.index.get(),
            time: unix_seconds(entry.time),
            id: entry.id.to_string(),
            len: entry.len,
            hole: entry.hole,
            preview: body.and_then(|body| preview(&body)),
        });
    }
    LogPart { size: store.log_size().get(), entries: shown, damaged }
}

/// How a body begins, if it is text.
fn preview(body: &[u8]) -> Option<String> {
    let (text, cut) = shown_text(body, PREVIEW_LEN_MAX)?;
    Some(if cut { format!("{text}…") } else { text.to_owned() })
}

/// The first bytes of a body that are whole characters, and whether there are more; `None` if they
/// are no text.
fn shown_text(body: &[u8], len_max: usize) -> Option<(&str, bool)> {
    let start = body.get(..len_max).unwrap_or(body);
    let text = match str::from_utf8(start) {
        Ok(text) => text,
        // The limit may lie within a character.
        Err(error) if error.error_len().is_none() && start.len() < body.len() => {
            str::from_utf8(start.get(..error.valid_up_to())?).ok()?
        }
        Err(_) => return None,
    };
    Some((text, text.len() < body.len()))
}

/// The id that a text in a path is, or begins.
fn resolve(store: &Store, text: &str) -> Result<AssertionId, Failure> {
    Ok(store.resolve(text)?)
}

/// An assertion, by its id or how that begins.
pub(super) async fn assertion<V: View>(
    State(site): State<Arc<Site<V>>>,
    id: Result<Path<String>, PathRejection>,
) -> Answer {
    let id = in_path(id)?;
    let found = site.read(move |view| {
        let store = view.store();
        let entry = Backend::find(&**store, &Which::Id(resolve(store, &id)?))?;
        Backend::body(&**store, &entry).map(|body| (entry, body))
    });
    let (entry, body) = found.await??;
    let text = shown_text(&body, BODY_LEN_MAX);
    let shown = text.map_or_else(|| body.len().min(BODY_LEN_MAX), |(text, _)| text.len());
    let hex = text.is_none().then(|| to_hex(body.get(..shown).unwrap_or_default()));
    Ok(Json(json!({
        "id": entry.id.to_string(),
        "index": entry.index,
        "time": unix_seconds(Timestamp::from_ntp64(entry.time)),
        "len": entry.len,
        "text": text.map(|(text, _)| text),
        "hex": hex,
        "shown": shown,
    })))
}

/// A proof that an assertion is held, or is not: the text of a proof file.
pub(super) async fn proof<V: View>(
    State(site): State<Arc<Site<V>>>,
    id: Result<Path<String>, PathRejection>,
) -> Answer {
    let id = in_path(id)?;
    let proven = site.read(move |view| {
        let store = view.store();
        let id = resolve(store, &id)?;
        Backend::prove(&**store, &id).map(|(proof, root)| ProofFile { proof, root })
    });
    let file = proven.await??;
    Ok(Json(json!({
        "id": to_hex(&file.proof.id),
        "root": to_hex(&file.root),
        "count": file.proof.count,
        "present": file.proof.presence() == Presence::Present,
        "file": file.write(),
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CellsAsked {
    depth: Option<u8>,
}

/// The depth asked for, if it is one of those that are shown.
fn depth(asked: Option<u8>) -> Result<u8, Refusal> {
    let [coarse, fine] = DEPTHS;
    let depth = asked.unwrap_or(coarse);
    if DEPTHS.contains(&depth) {
        return Ok(depth);
    }
    Err(Refusal::malformed(format!("depth is {coarse} or {fine}")))
}

fn read_failed(error: impl Into<ReadError>) -> Refusal {
    Failure::from(error.into()).into()
}

/// The subtrees of this store: the first four bytes of each hash, zeros where there are no ids.
pub(super) async fn cells<V: View>(
    State(site): State<Arc<Site<V>>>,
    asked: Result<Query<CellsAsked>, QueryRejection>,
) -> Answer {
    let depth = depth(in_query(asked)?.depth)?;
    let (snapshot, hashes) = site
        .read(move |view| {
            let snapshot = view.store().snapshot()?;
            let hashes = cells::cells(snapshot.tree(), depth)?;
            Ok::<_, ReadError>((snapshot, hashes))
        })
        .await?
        .map_err(read_failed)?;
    let hashes: Vec<String> =
        hashes.iter().map(|hash| to_hex(hash.get(..4).unwrap_or_default())).collect();
    Ok(Json(json!({
        "depth": depth,
        "count": snapshot.len(),
        "set_root": to_hex(&snapshot.root()),
        "hashes": hashes,
    })))
}

/// How many assertions one cell has.
pub(super) async fn cell<V: View>(
    State(site): State<Arc<Site<V>>>,
    cell: Result<Path<u16>, PathRejection>,
    asked: Result<Query<CellsAsked>, QueryRejection>,
) -> Answer {
    let (cell, depth) = (in_path(cell)?, depth(in_query(asked)?.depth)?);
    if u32::from(cell) >= 1 << depth {
        return Err(Refusal::malformed("there is no such cell"));
    }
    let counted = site.read(move |view| {
        let snapshot = view.store().snapshot()?;
        Ok::<_, ReadError>(cells::count(snapshot.tree(), depth, cell, COUNTED_MAX)?)
    });
    let count = counted.await?.map_err(read_failed)?;
    Ok(Json(json!({ "cell": cell, "count": count, "more": count == COUNTED_MAX })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareAsked {
    peer: String,
    depth: Option<u8>,
}

/// In which cells this store and a peer differ.
pub(super) async fn compare<V: View>(
    State(site): State<Arc<Site<V>>>,
    asked: Result<Query<CompareAsked>, QueryRejection>,
) -> Answer {
    let CompareAsked { peer, depth } = in_query(asked)?;
    let depth = self::depth(depth)?;
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "this node has no such peer");
    let status = site.read(V::status).await?;
    if !status.peers.iter().any(|known| known.address == peer) {
        return Err(unknown());
    }
    // One at a time: each costs the peer something.
    let wait = site.options.answer_time_max / 2;
    let permit = timeout(wait, Arc::clone(&site.compares).acquire_owned()).await;
    let Ok(Ok(_permit)) = permit else { return Err(Refusal::busy()) };
    let theirs = site.view.compare(&peer, depth).await.map_err(|error| match error {
        super::CompareError::UnknownPeer => unknown(),
        error @ super::CompareError::Failed(_) => {
            Refusal::new(StatusCode::BAD_GATEWAY, error.to_string())
        }
    })?;
    let mine = site
        .read(move |view| {
            let snapshot = view.store().snapshot()?;
            Ok::<_, ReadError>(cells::cells(snapshot.tree(), depth)?)
        })
        .await?
        .map_err(read_failed)?;
    if theirs.len() != mine.len() {
        return Err(Refusal::new(
            StatusCode::BAD_GATEWAY,
            "the peer told of another number of cells",
        ));
    }
    let differing =
        mine.iter().zip(&theirs).enumerate().filter(|(_, (mine, theirs))| mine != theirs);
    let only = |here: bool| {
        // Where one side has none, all that the other has is missing there.
        let empty = [0; 32];
        let cells = mine.iter().zip(&theirs).enumerate();
        cells
            .filter(|(_, (mine, theirs))| {
                let (full, other) = if here { (mine, theirs) } else { (theirs, mine) };
                **other == empty && **full != empty
            })
            .map(|(cell, _)| cell)
            .collect::<Vec<usize>>()
    };
    Ok(Json(json!({
        "peer": peer,
        "depth": depth,
        "differing": differing.map(|(cell, _)| cell).collect::<Vec<usize>>(),
        "only_here": only(true),
        "only_there": only(false),
    })))
}
