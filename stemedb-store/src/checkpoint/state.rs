//! State that a checkpoint has beside the set tree.

use core::ops::Range;

use stemedb_merkle::{Hash, LogIndex, MappedSetError, Timestamp};

use super::{
    WriteError,
    blocks::{BlockFile, BlockWriter},
    payload::Array,
};
use stemedb_wal::log::HoleEntry;

/// State that a checkpoint has beside the set tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointState {
    /// The nodes of the history tree's incomplete tiles.
    pub history: Vec<Hash>,
    /// The entries whose bodies are lost, sorted by id.
    pub holes: Vec<(Hash, HoleEntry)>,
    /// The coded symbols of the set, in elements whose meaning is not known here; none unless the
    /// set is compared with others. Reading leaves them out: [`Checkpoint::symbols`] has them.
    ///
    /// [`Checkpoint::symbols`]: super::Checkpoint::symbols
    pub symbols: Vec<[u8; 32]>,
}

/// Where it was written.
#[derive(Debug)]
pub(super) struct StateArrays {
    pub(super) history: Array<[u8; 32]>,
    pub(super) holes: Array<[u8; 48]>,
    pub(super) symbols: Array<[u8; 32]>,
}

impl CheckpointState {
    pub(super) fn read(
        file: &BlockFile,
        history: &Range<usize>,
        holes: &Range<usize>,
    ) -> Result<Self, MappedSetError> {
        let history = file.read_all(history)?.as_chunks().0.to_vec();
        let holes = file.read_all(holes)?.as_chunks().0.iter().map(hole).collect();
        Ok(Self { history, holes, symbols: Vec::new() })
    }

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
        Ok(StateArrays { history, holes, symbols })
    }
}

fn hole(bytes: &[u8; 48]) -> (Hash, HoleEntry) {
    let (mut id, mut index, mut time) = ([0; 32], [0; 8], [0; 8]);
    let fields = id.iter_mut().chain(&mut index).chain(&mut time);
    for (field, byte) in fields.zip(bytes) {
        *field = *byte;
    }
    let (index, time) = (u64::from_le_bytes(index), u64::from_le_bytes(time));
    (id, HoleEntry { index: LogIndex(index), time: Timestamp::from_ntp64(time) })
}
