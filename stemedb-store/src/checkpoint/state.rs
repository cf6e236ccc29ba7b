//! State that a checkpoint has beside the set tree.

use core::ops::Range;

use stemedb_merkle::{Hash, LogIndex, MappedSetError, Timestamp};

use super::{
    Covered, WriteError,
    blocks::{BlockFile, BlockWriter},
    header::Fields,
    payload::Array,
};
use stemedb_wal::{
    log::{HoleEntry, KnownSegment},
    raw::Salt,
    sealed::SegmentHeader,
};

/// State that a checkpoint has beside the set tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointState {
    /// The nodes of the history tree's incomplete tiles.
    pub history: Vec<Hash>,
    /// The entries whose bodies are lost, sorted by id.
    pub holes: Vec<(Hash, HoleEntry)>,
    /// The coded symbols of the set, in elements whose meaning is not known here; none of a
    /// small set. Reading leaves them out: [`Checkpoint::symbols`] has them.
    ///
    /// [`Checkpoint::symbols`]: super::Checkpoint::symbols
    pub symbols: Vec<[u8; 32]>,
    /// The segments that begin before where the checkpoint ends, so that opening need not open
    /// them; none where that is not known.
    pub segments: Vec<KnownSegment>,
}

/// Where it was written, for the root of a payload.
#[derive(Debug)]
pub(super) struct StateArrays {
    pub(super) history: Array<[u8; 32]>,
    pub(super) holes: Array<[u8; 48]>,
    pub(super) symbols: Array<[u8; 32]>,
    pub(super) segments: Array<[u8; 40]>,
}

/// Where it lies in a file.
#[derive(Debug)]
pub(super) struct StateRanges {
    pub(super) history: Range<usize>,
    pub(super) holes: Range<usize>,
    pub(super) symbols: Range<usize>,
    pub(super) segments: Range<usize>,
}

impl StateRanges {
    pub(super) fn read(&self, file: &BlockFile) -> Result<CheckpointState, MappedSetError> {
        let history = file.read_all(&self.history)?.as_chunks().0.to_vec();
        let holes = file.read_all(&self.holes)?.as_chunks().0.iter().map(hole).collect();
        let segments = file.read_all(&self.segments)?;
        let covered = &file.header.covered;
        let segments = segments.as_chunks().0.iter().map(|row| segment(covered, row)).collect();
        Ok(CheckpointState { history, holes, symbols: Vec::new(), segments })
    }

    /// The coded symbols of the set.
    pub(super) fn symbols(&self, file: &BlockFile) -> Result<Vec<[u8; 32]>, MappedSetError> {
        Ok(file.read_all(&self.symbols)?.as_chunks().0.to_vec())
    }
}

impl CheckpointState {
    pub(super) fn write(&self, writer: &mut BlockWriter<'_>) -> Result<StateArrays, WriteError> {
        let history = Array::new(writer.len(), self.history.len());
        writer.write(self.history.as_flattened())?;
        let holes = Array::new(writer.len(), self.holes.len());
        for (id, HoleEntry { index, time }) in &self.holes {
            writer.write(id)?;
            writer.write(&index.get().to_le_bytes())?;
            writer.write(&time.as_ntp64().to_le_bytes())?;
        }
        let symbols = Array::new(writer.len(), self.symbols.len());
        writer.write(self.symbols.as_flattened())?;
        let segments = Array::new(writer.len(), self.segments.len());
        for KnownSegment { header, batches_end } in &self.segments {
            writer.write(&header.first_index.to_le_bytes())?;
            writer.write(&header.first_position.to_le_bytes())?;
            writer.write(&header.salt.0.to_le_bytes())?;
            writer.write(&header.time_before.to_le_bytes())?;
            writer.write(&header.previous_sum.to_le_bytes())?;
            writer.write(&batches_end.to_le_bytes())?;
        }
        Ok(StateArrays { history, holes, symbols, segments })
    }
}

/// A segment of the log that a checkpoint is of.
fn segment(covered: &Covered, row: &[u8; 40]) -> KnownSegment {
    let mut fields = Fields(row);
    let (first_index, first_position) = (fields.u64(), fields.u64());
    let (salt, time_before, previous_sum) = (Salt(fields.u64()), fields.u64(), fields.u32());
    let Covered { store_id, generation, .. } = *covered;
    let header = SegmentHeader {
        store_id,
        generation,
        previous_sum,
        first_index,
        first_position,
        salt,
        time_before,
    };
    KnownSegment { header, batches_end: fields.u32() }
}

fn hole(bytes: &[u8; 48]) -> (Hash, HoleEntry) {
    let mut fields = Fields(bytes);
    let id = fields.take();
    let (index, time) = (LogIndex(fields.u64()), Timestamp::from_ntp64(fields.u64()));
    (id, HoleEntry { index, time })
}
