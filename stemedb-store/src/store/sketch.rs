//! The first coded symbols of the set, for sessions with peers.
//!
//! Each restart checkpoint of a set that is not small has them: made from those in the checkpoint
//! before and the ids that came since, beside the appends, which don't pay for them. The first
//! comparison brings them up to date with the log's tail; from then on folding keeps them up.

use std::{ops::Range, sync::Arc};

use crate::checkpoint::Checkpoint;
use stemedb_merkle::hash::derive;
use stemedb_merkle::symbols::{SKETCH_LEN, Sketch};
use stemedb_merkle::{Entry, LogIndex, MappedSetError, Snapshot};

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

/// The coded symbols of a set that is to be saved, if they are kept up.
pub(super) fn live(folded: &IndexState, tree: &Snapshot) -> Option<Arc<Sketch>> {
    folded.sketch.clone().filter(|sketch| sketch.count() == tree.len())
}

/// What a checkpoint of this set saves of them; nothing of a set that is small, or where the secret
/// that they are made with is missing. `added` are ids of the set, all that came since the present
/// checkpoint among them.
///
/// # Errors
///
/// If the ids can't be read.
pub(super) fn to_save(
    shared: &Shared,
    live: Option<&Sketch>,
    tree: &Snapshot,
    present: Option<&Checkpoint>,
    added: impl Iterator<Item = Result<Entry, MappedSetError>>,
) -> Result<Vec<[u8; 32]>, MappedSetError> {
    let lacks_secret =
        shared.options.secret.is_none() && lock(&shared.identity).secret_check.is_some();
    if tree.len() < SAVED_COUNT_MIN || lacks_secret {
        return Ok(Vec::new());
    }
    if let Some(sketch) = live {
        return Ok(sketch.to_elements());
    }
    if let Some((present, (mut sketch, _))) =
        present.and_then(|present| Some((present, saved(shared, present)?)))
    {
        let since = present.covered().position;
        for entry in added {
            let entry = entry?;
            if entry.position >= since {
                sketch.insert(&entry.id);
            }
        }
        if sketch.count() == tree.len() {
            return Ok(sketch.to_elements());
        }
    }
    let mut sketch = Sketch::new(key(shared), SKETCH_LEN);
    for entry in tree {
        sketch.insert(&entry?.id);
    }
    Ok(sketch.to_elements())
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

#[cfg(test)]
mod tests {
    use stemedb_wal::disk::{Disk, MemoryDisk};

    use super::*;
    use crate::{Options, Store, store::ENVIRONMENT};

    fn of_all(store: &Store) -> Sketch {
        let mut sketch = Sketch::new(key(&store.shared), SKETCH_LEN);
        for entry in &store.shared.index.view().unwrap().tree {
            sketch.insert(&entry.unwrap().id);
        }
        sketch
    }

    fn in_checkpoint(store: &Store) -> Option<Sketch> {
        let present = lock(&store.shared.checkpoint).clone().unwrap();
        saved(&store.shared, &present).map(|(sketch, _)| sketch)
    }

    /// Each checkpoint of a set that is not small has the symbols of its set, with no comparison
    /// before: the first base, deltas over it, one whose deltas are replaced, and another base.
    #[test]
    fn checkpoints_have_the_symbols_of_their_sets() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let open = || {
            let options = Options::default().threads(false);
            Store::open_on(Arc::clone(&disk), ENVIRONMENT, options).unwrap()
        };
        let append = |store: &Store, from: u64, to: u64| {
            store.append_batch((from..to).map(u64::to_le_bytes)).unwrap();
            store.checkpoint().unwrap();
        };
        let mut store = open();
        append(&store, 0, SAVED_COUNT_MIN - 1);
        assert_eq!(in_checkpoint(&store), None, "the set is small");
        let mut end = SAVED_COUNT_MIN - 1;
        for more in [1, 5_000, 100, 90, 30_000, 7] {
            append(&store, end, end + more);
            end += more;
            assert!(in_checkpoint(&store) == Some(of_all(&store)), "with {end} ids");
            assert!(store.shared.index.folded().unwrap().sketch.is_none(), "appends don't pay");
            store.close().unwrap();
            store = open();
        }
        // A comparison begins with those, and the checkpoint after it has those that are kept up.
        let comparison = store.comparison().unwrap();
        assert!(comparison.sketch.as_deref() == Some(&of_all(&store)));
        append(&store, end, end + 10);
        assert!(in_checkpoint(&store) == Some(of_all(&store)));
    }

    /// Symbols made with another secret would be of no use.
    #[test]
    fn without_the_secret_none_are_saved() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let open = |secret: Option<Secret>| {
            let options = Options::default().threads(false).secret(secret);
            Store::open_on(Arc::clone(&disk), ENVIRONMENT, options).unwrap()
        };
        let store = open(Some(Secret::new(&[7; 16]).unwrap()));
        store.append_batch((0..SAVED_COUNT_MIN).map(u64::to_le_bytes)).unwrap();
        store.close().unwrap();
        let store = open(None);
        store.checkpoint().unwrap();
        assert_eq!(in_checkpoint(&store), None);
        let present = lock(&store.shared.checkpoint).clone().unwrap();
        assert!(!present.has_symbols());
    }
}
