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
use stemedb_merkle::{AssertionId, Hash, Presence, ProofFile, id::to_hex};
use stemedb_rpc::{Failure, Which};
use tokio::time::timeout;

use super::{
    HttpState,
    cells::{self, DEPTHS},
    growth::{SAMPLE_EVERY, Sample},
    refusal::Refusal,
};
use crate::status::{HeadStatus, unix_seconds};
use stemedb_store::{Entry, LogIndex, Proven, Store, error::ReadError, store::lock};

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

type Answer<T> = Result<Json<T>, Refusal>;

/// A number or a name in the path.
fn in_path<T>(asked: Result<Path<T>, PathRejection>) -> Result<T, Refusal> {
    asked.map(|Path(asked)| asked).map_err(|error| Refusal::malformed(error.body_text()))
}

fn in_query<T>(asked: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    asked.map(|Query(asked)| asked).map_err(|error| Refusal::malformed(error.body_text()))
}

#[derive(Debug, Serialize)]
pub(super) struct HeadShown {
    #[serde(flatten)]
    head: HeadStatus,
    last_time: f64,
}

/// The counts and roots of one moment.
pub(super) async fn head(State(state): State<Arc<HttpState>>) -> Answer<HeadShown> {
    let head = state.read(|node| node.store().head()).await?.map_err(Failure::from)?;
    Ok(Json(HeadShown { head: HeadStatus::from(&head), last_time: unix_seconds(head.last_time) }))
}

#[derive(Debug, Serialize)]
pub(super) struct GrowthShown {
    every_seconds: u64,
    counts: Vec<u64>,
    /// Decimal strings, as all numbers of bytes.
    log_bytes: Vec<String>,
    append_p99_seconds: Vec<Option<f64>>,
}

/// Growth of the store in the last hour, and latencies of appends.
pub(super) async fn growth(State(state): State<Arc<HttpState>>) -> Answer<GrowthShown> {
    let growth = state.growth.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let p99 = |sample: &Sample| sample.append_p99.map(|p99| p99.as_secs_f64());
    Ok(Json(GrowthShown {
        every_seconds: SAMPLE_EVERY.as_secs(),
        counts: growth.samples().map(|sample| sample.count).collect(),
        log_bytes: growth.samples().map(|sample| sample.log_bytes.to_string()).collect(),
        append_p99_seconds: growth.samples().map(p99).collect(),
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogAsked {
    from: Option<u64>,
    limit: Option<u64>,
}

/// A part of the log: from an entry on, or its end.
pub(super) async fn log(
    State(state): State<Arc<HttpState>>,
    asked: Result<Query<LogAsked>, QueryRejection>,
) -> Answer<LogPart> {
    let LogAsked { from, limit } = in_query(asked)?;
    let limit = limit.unwrap_or(ENTRIES).min(ENTRIES_MAX);
    let read = state.read(move |node| {
        let end = node.store().log_size().get();
        let from = from.unwrap_or_else(|| end.saturating_sub(limit)).min(end);
        entries(node.store(), from, from.saturating_add(limit))
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
    let mut found = Vec::new();
    let mut damaged = false;
    for entry in store.range(LogIndex(from)..LogIndex(to)) {
        let Ok(entry) = entry else {
            damaged = true;
            break;
        };
        found.push(entry);
    }
    let is_previewed = |entry: &Entry| !entry.hole && entry.len <= PREVIEWED_LEN_MAX;
    let ids: Vec<_> =
        found.iter().filter(|entry| is_previewed(entry)).map(|entry| entry.id).collect();
    let mut bodies = store.get_many(&ids);
    let shown = found.iter().map(|entry| {
        let body = if is_previewed(entry) { bodies.next() } else { None };
        EntryShown {
            index: entry.index.get(),
            time: unix_seconds(entry.time),
            id: entry.id.to_string(),
            len: entry.len,
            hole: entry.hole,
            preview: body.and_then(|body| preview(&body.ok()??)),
        }
    });
    LogPart { size: store.log_size().get(), entries: shown.collect(), damaged }
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

#[derive(Debug, Serialize)]
pub(super) struct Found {
    id: String,
    index: u64,
    time: f64,
    len: u64,
    text: Option<String>,
    hex: Option<String>,
    shown: usize,
}

/// An assertion, by its id or how that begins.
pub(super) async fn assertion(
    State(state): State<Arc<HttpState>>,
    id: Result<Path<String>, PathRejection>,
) -> Answer<Found> {
    let id = in_path(id)?;
    let found = state.read(move |node| {
        let store = node.store();
        let entry = Which::Id(resolve(store, &id)?).find(store)?;
        Ok::<_, Failure>((entry, store.body_of(entry.index, entry.time, &entry.id)?))
    });
    let (entry, body) = found.await??;
    let (text, hex, shown) = if let Some((text, _)) = shown_text(&body, BODY_LEN_MAX) {
        (Some(text.to_owned()), None, text.len())
    } else {
        let start = body.get(..BODY_LEN_MAX).unwrap_or(&body);
        (None, Some(to_hex(start)), start.len())
    };
    Ok(Json(Found {
        id: entry.id.to_string(),
        index: entry.index.get(),
        time: unix_seconds(entry.time),
        len: entry.len,
        text,
        hex,
        shown,
    }))
}

#[derive(Debug, Serialize)]
pub(super) struct Proof {
    id: String,
    root: String,
    count: u64,
    present: bool,
    file: String,
}

/// A proof that an assertion is held, or is not: the text of a proof file.
pub(super) async fn proof(
    State(state): State<Arc<HttpState>>,
    id: Result<Path<String>, PathRejection>,
) -> Answer<Proof> {
    let id = in_path(id)?;
    let proven = state.read(move |node| {
        let store = node.store();
        let id = resolve(store, &id)?;
        let Proven { proof, head } = store.prove(&id)?;
        Ok::<_, Failure>(ProofFile { proof, root: head.set_root })
    });
    let file = proven.await??;
    Ok(Json(Proof {
        id: to_hex(file.proof.id),
        root: to_hex(file.root),
        count: file.proof.count,
        present: file.proof.presence() == Presence::Present,
        file: file.write(),
    }))
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

#[derive(Debug, Serialize)]
pub(super) struct Cells {
    depth: u8,
    count: u64,
    set_root: String,
    hashes: Vec<String>,
}

/// The subtrees of this store: the first four bytes of each hash, zeros where there are no ids.
pub(super) async fn cells(
    State(state): State<Arc<HttpState>>,
    asked: Result<Query<CellsAsked>, QueryRejection>,
) -> Answer<Cells> {
    let depth = depth(in_query(asked)?.depth)?;
    let (snapshot, hashes) = state
        .read(move |node| {
            let snapshot = node.store().snapshot()?;
            let hashes = cells::cells(snapshot.tree(), depth)?;
            Ok::<_, ReadError>((snapshot, hashes))
        })
        .await?
        .map_err(read_failed)?;
    let first_bytes = |[a, b, c, d, ..]: &Hash| to_hex([*a, *b, *c, *d]);
    Ok(Json(Cells {
        depth,
        count: snapshot.len(),
        set_root: to_hex(snapshot.root()),
        hashes: hashes.iter().map(first_bytes).collect(),
    }))
}

#[derive(Debug, Serialize)]
pub(super) struct Counted {
    cell: u16,
    count: usize,
    more: bool,
}

/// How many assertions one cell has.
pub(super) async fn cell(
    State(state): State<Arc<HttpState>>,
    cell: Result<Path<u16>, PathRejection>,
    asked: Result<Query<CellsAsked>, QueryRejection>,
) -> Answer<Counted> {
    let (cell, depth) = (in_path(cell)?, depth(in_query(asked)?.depth)?);
    if u32::from(cell) >= 1 << depth {
        return Err(Refusal::malformed("there is no such cell"));
    }
    let counted = state.read(move |node| {
        let snapshot = node.store().snapshot()?;
        Ok::<_, ReadError>(cells::count(snapshot.tree(), depth, cell, COUNTED_MAX)?)
    });
    let count = counted.await?.map_err(read_failed)?;
    Ok(Json(Counted { cell, count, more: count == COUNTED_MAX }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareAsked {
    peer: String,
    depth: Option<u8>,
}

#[derive(Debug, Serialize)]
pub(super) struct Compared {
    peer: String,
    depth: u8,
    differing: Vec<usize>,
    only_here: Vec<usize>,
    only_there: Vec<usize>,
}

/// In which cells this store and a peer differ.
pub(super) async fn compare(
    State(state): State<Arc<HttpState>>,
    asked: Result<Query<CompareAsked>, QueryRejection>,
) -> Answer<Compared> {
    let CompareAsked { peer, depth } = in_query(asked)?;
    let depth = self::depth(depth)?;
    if lock(&state.node.shared.cluster).peer(&peer).is_none() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "this node has no such peer"));
    }
    // One at a time: each costs the peer something.
    let wait = state.options.answer_time_max / 2;
    let permit = timeout(wait, Arc::clone(&state.compares).acquire_owned()).await;
    let Ok(Ok(_permit)) = permit else { return Err(Refusal::busy()) };
    let links = &state.node.shared.links;
    let theirs = async { links.client(&peer).await?.cells(depth).await }.await;
    let theirs = theirs.map_err(|error| {
        let text = format!("the peer could not be asked: {error}");
        Refusal::new(StatusCode::BAD_GATEWAY, text)
    })?;
    let mine = state
        .read(move |node| {
            let snapshot = node.store().snapshot()?;
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
    Ok(Json(Compared {
        peer,
        depth,
        differing: differing.map(|(cell, _)| cell).collect(),
        only_here: only(true),
        only_there: only(false),
    }))
}
