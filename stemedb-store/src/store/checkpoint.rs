//! Writing restart checkpoints while appends go on.

use std::{path::PathBuf, sync::Arc};

use crate::checkpoint::{self, Checkpoint, CheckpointFault, CheckpointState, Covered, WriteError};
use stemedb_merkle::{Hash, LogSize, MerkleTree, Snapshot, history::History, symbols::Sketch};
use stemedb_wal::log::{HoleEntry, Watermark};
use tracing::debug;

use super::{Shared, lock, sketch};
use crate::{
    error::{CheckpointError, ReadError, TreeFailure},
    index::{Filter, Index, IndexState, View},
};

/// What writing a checkpoint came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// The file written; an earlier one if nothing was appended since.
    pub path: PathBuf,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many assertions all files of the checkpoint cover together.
    pub count: u64,
    /// How many entries of the log.
    pub log_size: LogSize,
}

/// What a checkpoint is of: all of it from between two folds.
struct Moment {
    tree: Snapshot,
    history: History,
    holes: Vec<(Hash, HoleEntry)>,
    sketch: Option<Arc<Sketch>>,
    reached: Watermark,
}

/// Entries that are still to be caught up with when folding is held up for the change of trees.
const CATCH_UP_LEN_MAX: usize = 512;

/// Writes a checkpoint and lets the set tree go on from it.
pub(super) fn write(shared: &Shared) -> Result<CheckpointReport, CheckpointError> {
    // One at a time. The one in use can be asked for meanwhile.
    let _one = lock(&shared.checkpointing);
    if let Some(TreeFailure::Closed) = shared.index.failure() {
        return Err(ReadError::Closed.into());
    }
    let written = write_alone(shared);
    let error = written.as_ref().err().map(|error| error as &dyn std::error::Error);
    lock(&shared.upkeep).checkpoint_failed(error);
    written
}

fn write_alone(shared: &Shared) -> Result<CheckpointReport, CheckpointError> {
    set_damaged_aside(shared)?;
    let present = lock(&shared.checkpoint).clone();
    let moment = moment(&shared.index)?;
    let written = write_and_rebase(shared, &moment, present.as_ref());
    if let Ok(mut folded) = shared.index.folded() {
        folded.end_journal();
    }
    written
}

/// Sets the restart checkpoint aside if the set tree had to leave it, or would have to.
///
/// # Errors
///
/// If a file can't be renamed: the next opening meets the damage again.
pub(super) fn leave_damaged(shared: &Shared) -> Result<(), CheckpointError> {
    let _one = lock(&shared.checkpointing);
    set_damaged_aside(shared)
}

fn set_damaged_aside(shared: &Shared) -> Result<(), CheckpointError> {
    if let Some(damage) = shared.index.take_damage() {
        give_up(shared, &CheckpointFault::MappedSet(damage))?;
    }
    Ok(())
}

/// The next opening rebuilds what is in the checkpoint from the log.
fn give_up(shared: &Shared, fault: &CheckpointFault) -> Result<(), CheckpointError> {
    let present = lock(&shared.checkpoint).take();
    if let Some(present) = present {
        present.set_aside(shared.disk.as_ref(), fault)?;
    }
    Ok(())
}

fn moment(trees: &Index) -> Result<Moment, CheckpointError> {
    let mut folded = trees.folded().map_err(ReadError::from)?;
    if let Some(error) = &folded.tiles_failure {
        return Err(CheckpointError::Tiles(error.clone()));
    }
    folded.begin_journal();
    let View { tree, history, .. } = trees.view_of(&folded);
    let (holes, sketch) = (folded.sorted_holes(), sketch::live(&folded, &tree));
    Ok(Moment { tree, history, holes, sketch, reached: folded.reached })
}

fn write_and_rebase(
    shared: &Shared,
    moment: &Moment,
    present: Option<&Checkpoint>,
) -> Result<CheckpointReport, CheckpointError> {
    if let Some(present) = present
        && present.covered().next_index == moment.reached.next_index.get()
        && present.covered().set_root == moment.tree.root()
    {
        shared.pace.cover(present.covered().next_index);
        return Ok(report(present, shared));
    }
    shared.tiles.sync()?;
    let written = match write_files(moment, present, shared) {
        Err(WriteError::MappedSet(damage)) => {
            // What it stands on is damaged: the log has all that is in it, and the next checkpoint
            // stands on nothing.
            shared.index.leave_mapped_set(&damage).map_err(ReadError::from)?;
            shared.index.take_damage();
            give_up(shared, &CheckpointFault::MappedSet(damage.clone()))?;
            return Err(WriteError::MappedSet(damage).into());
        }
        written => written?,
    };
    let report = report(&written, shared);
    *lock(&shared.checkpoint) = Some(written.clone());
    rebase(&shared.index, moment, &written)?;
    // Only now is the memory free of what is in it.
    shared.pace.cover(moment.reached.next_index.get());
    debug!(path = %report.path.display(), bytes = report.bytes, "a restart checkpoint was written");
    Ok(report)
}

fn report(checkpoint: &Checkpoint, shared: &Shared) -> CheckpointReport {
    let Some((name, bytes)) = checkpoint.file_sizes().pop() else {
        unreachable!("internal error: a restart checkpoint without files")
    };
    CheckpointReport {
        path: shared.disk.path(&name),
        bytes,
        count: checkpoint.covered().count,
        log_size: LogSize(checkpoint.covered().next_index),
    }
}

fn write_files(
    moment: &Moment,
    present: Option<&Checkpoint>,
    shared: &Shared,
) -> Result<Checkpoint, WriteError> {
    let disk = shared.disk.as_ref();
    let in_place = shared.options.map_files;
    let covered = covered(moment, shared)?;
    let live = moment.sketch.as_deref();
    let state = |symbols| CheckpointState {
        history: moment.history.pending(),
        holes: moment.holes.clone(),
        symbols,
        segments: shared.reader.known_segments(covered.position),
    };
    if let Some(present) = present
        && let Some(kept) = present.deltas_to_keep(covered.count)
    {
        let changes = moment.tree.changes(present.position_of(kept), kept)?;
        let added = changes.entries.iter().copied().map(Ok);
        let state = state(sketch::to_save(shared, live, &moment.tree, Some(present), added)?);
        checkpoint::write_delta(disk, present, kept, &covered, &changes, &state, in_place)
    } else {
        let added = moment.tree.iter();
        let state = state(sketch::to_save(shared, live, &moment.tree, present, added)?);
        let entries = moment.tree.iter();
        checkpoint::write_base(disk, &covered, entries, &state, in_place, &mut |_| {})
    }
}

fn covered(moment: &Moment, shared: &Shared) -> Result<Covered, WriteError> {
    let identity = lock(&shared.identity).clone();
    let last = match moment.reached.next_index.entries_before().last_index() {
        Some(last) => Some(shared.reader.entry_at(last).map_err(std::io::Error::other)?),
        None => None,
    };
    Ok(Covered {
        store_id: identity.store_id,
        generation: identity.generation,
        position: moment.reached.position.get(),
        next_index: moment.reached.next_index.get(),
        count: moment.tree.len(),
        set_root: moment.tree.root(),
        top_hash: moment.tree.top_hash(),
        history_root: moment.history.root(),
        last_time: last.map_or(0, |entry| entry.time.as_ntp64()),
        last_id: last.map(|entry| entry.id).unwrap_or_default(),
        last_position: last.map_or(0, |entry| entry.position.get()),
    })
}

/// Lets the set tree go on from the new checkpoint, which frees the memory of all that is in it.
///
/// What was appended meanwhile is caught up with while more is appended, for as long as that
/// leaves less to do each time. The rest is done with folding held up, so that it ends however
/// fast appends come.
fn rebase(trees: &Index, moment: &Moment, written: &Checkpoint) -> Result<(), CheckpointError> {
    let mut tree = MerkleTree::from_mapped_set(written.mapped_set(), moment.tree.top_hash());
    let mut filter = Filter::default();
    let mut before = usize::MAX;
    loop {
        let later = trees.folded().map_err(ReadError::from)?.take_journal();
        filter.extend(&later);
        tree.insert_batch(&later).map_err(ReadError::MappedSet)?;
        if later.len() <= CATCH_UP_LEN_MAX || later.len() > before / 2 {
            break;
        }
        before = later.len();
    }
    let mut folded = trees.folded().map_err(ReadError::from)?;
    let former = change_trees(trees, &mut folded, tree, filter, written)?;
    drop(folded);
    // Freeing it takes a while, which nobody waits for.
    drop(former);
    Ok(())
}

/// Between two folds: the new tree takes in the last entries and takes the old one's place.
fn change_trees(
    trees: &Index,
    folded: &mut IndexState,
    mut tree: MerkleTree,
    mut filter: Filter,
    written: &Checkpoint,
) -> Result<MerkleTree, CheckpointError> {
    let last = folded.take_journal();
    filter.extend(&last);
    tree.insert_batch(&last).map_err(ReadError::MappedSet)?;
    if tree.root() != trees.view_of(folded).tree.root() {
        return Err(WriteError::OtherRoot.into());
    }
    Ok(trees.replace_tree(folded, tree, filter, Some(written)))
}

/// How many entries the last checkpoint lacks.
pub(super) fn tail_len(shared: &Shared) -> u64 {
    let reached = shared.index.reached().next_index.get();
    // It may have been written since.
    reached.saturating_sub(shared.pace.covered())
}
