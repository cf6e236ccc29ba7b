//! The first coded symbols of the set, for sessions with peers.
//!
//! A store that was never compared with another has none, and its appends don't pay for them. The
//! first comparison makes them, from those saved with the restart checkpoint and the log's tail, or
//! from all ids at some 0.15 µs each; from then on folding keeps them up.

use std::{ops::Range, sync::Arc};

use crate::checkpoint::Checkpoint;
use stemedb_merkle::hash::derive;
use stemedb_merkle::symbols::{SKETCH_LEN, Sketch};
use stemedb_merkle::{LogIndex, Snapshot};

use super::{Shared, lock};
use crate::Secret;
use crate::{
    error::ReadError,
    index::{IndexState, set_entry},
};

/// Of smaller sets they are made in a few milliseconds, which is not worth the 256 KiB.
const SAVED_COUNT_MIN: u64 = 1 << 16;

/// Entries that are still to be caught up with when folding is held up.
const CATCH_UP_LEN_MAX: u64 = 4_096;

/// Whether a checkpoint has coded symbols.
pub(super) fn is_in(checkpoint: &Checkpoint) -> bool {
    checkpoint.has_symbols()
}

/// What a checkpoint of this moment saves of them.
pub(super) fn to_save(folded: &IndexState, tree: &Snapshot) -> Vec<[u8; 32]> {
    match &folded.sketch {
        Some(sketch) if tree.len() >= SAVED_COUNT_MIN && sketch.count() == tree.len() => {
            sketch.to_elements()
        }
        _ => Vec::new(),
    }
}

/// Whether there are coded symbols that the present checkpoint has not and the next would have.
pub(super) fn is_new(shared: &Shared) -> bool {
    let lives = shared.index.folded().is_ok_and(|folded| folded.sketch.is_some());
    lives
        && shared.index.count() >= SAVED_COUNT_MIN
        && !lock(&shared.checkpoint).as_ref().is_some_and(is_in)
}

/// Makes coded symbols if there are none yet; from then on folding keeps them up.
///
/// # Errors
///
/// If the ids can't be read.
pub(super) fn wake(shared: &Shared, checkpoint: Option<&Checkpoint>) -> Result<(), ReadError> {
    let _one = lock(&shared.initializing);
    if shared.index.folded()?.sketch.is_some() {
        return Ok(());
    }
    if let Some((sketch, entries)) = checkpoint.and_then(|checkpoint| saved(shared, checkpoint))
        && catch_up(shared, sketch, entries)?
    {
        return Ok(());
    }
    let view = shared.index.view()?;
    let mut sketch = Sketch::new(key(shared), SKETCH_LEN);
    for entry in &view.tree {
        match entry {
            Ok(entry) => sketch.insert(&entry.id),
            Err(damage) => {
                // For the next one who asks.
                shared.index.leave_mapped_set(&damage)?;
                return Err(damage.into());
            }
        }
    }
    catch_up(shared, sketch, LogIndex(view.history.size().0)).map(drop)
}

/// Those saved with a checkpoint, and how many entries of the log they cover.
fn saved(shared: &Shared, checkpoint: &Checkpoint) -> Option<(Sketch, LogIndex)> {
    let covered = checkpoint.covered();
    let sketch = Sketch::from_elements(key(shared), &checkpoint.symbols().ok()?).ok()?;
    (sketch.count() == covered.count && sketch.len() == SKETCH_LEN)
        .then_some((sketch, LogIndex(covered.next_index)))
}

/// Takes in the entries of the log from an index on, and goes live; false if that does not give the
/// set, because lost bodies came back meanwhile.
fn catch_up(shared: &Shared, mut sketch: Sketch, mut next: LogIndex) -> Result<bool, ReadError> {
    loop {
        let end = shared.index.reached().next_index;
        if end - next <= CATCH_UP_LEN_MAX {
            break;
        }
        take_in(shared, &mut sketch, next..end)?;
        next = end;
    }
    let mut folded = shared.index.folded()?;
    let view = shared.index.view_of(&folded);
    take_in(shared, &mut sketch, next..view.history.size().next_index())?;
    if sketch.count() != view.tree.len() {
        return Ok(false);
    }
    folded.sketch = Some(Arc::new(sketch));
    Ok(true)
}

fn take_in(
    shared: &Shared,
    sketch: &mut Sketch,
    entries: Range<LogIndex>,
) -> Result<(), ReadError> {
    for entry in shared.reader.entries(entries) {
        if let Some(entry) = set_entry(&entry?) {
            sketch.insert(&entry.id);
        }
    }
    Ok(())
}

/// Key of the checks in coded symbols (SPEC section 1).
fn key(shared: &Shared) -> [u8; 16] {
    let secret = shared.options.secret.as_ref().map(Secret::expose);
    let [key, _] = *derive("symbol check", secret.unwrap_or_default()).as_chunks().0 else {
        unreachable!("32 bytes are two halves")
    };
    key
}
