//! The base of a checkpoint: a whole set tree.

use core::ops::Range;

use rkyv::rend::u32_le;
use stemedb_merkle::{
    ArchiveError, Entry, Hash,
    set::{
        archive::{BaseArrays, PackedPosition, hashes_len, pack_position, page_bits},
        build::BaseBuilder,
    },
};

use super::{
    CheckpointFault, WriteError,
    beside::{Beside, BesideArrays},
    blocks::{BlockFile, BlockWriter},
    payload::{self, ArchivedBasePayload, Array, BASE_ROOT_LEN, BasePayload},
};

/// An open base.
#[derive(Debug)]
pub(super) struct BaseFile {
    pub(super) file: BlockFile,
    len: usize,
    ids: Range<usize>,
    positions: Range<usize>,
    starts: Range<usize>,
    hashes: Range<usize>,
    history: Range<usize>,
    holes: Range<usize>,
    symbols: Range<usize>,
}

impl BaseFile {
    pub(super) fn open(file: BlockFile) -> Result<Self, CheckpointFault> {
        let root_start = file.len().saturating_sub(BASE_ROOT_LEN);
        file.slice(root_start..file.len()).map_err(CheckpointFault::Archive)?;
        let payload = file.payload();
        let root: &ArchivedBasePayload = payload::read(payload).ok_or(CheckpointFault::Payload)?;
        let len = root.ids.len();
        let bits = page_bits(len as u64);
        let whole = root.positions.len() == len
            && root.starts.len() == (1 << bits) + 1
            && root.hashes.len() == hashes_len(bits)
            && file.header.covered.count == len as u64;
        if !whole {
            return Err(CheckpointFault::Payload);
        }
        Ok(Self {
            len,
            ids: payload::place(payload, &root.ids),
            positions: payload::place(payload, &root.positions),
            starts: payload::place(payload, &root.starts),
            hashes: payload::place(payload, &root.hashes),
            history: payload::place(payload, &root.history),
            holes: payload::place(payload, &root.holes),
            symbols: payload::place(payload, &root.symbols),
            file,
        })
    }

    /// What the tree does not say.
    pub(super) fn beside(&self) -> Result<Beside, ArchiveError> {
        Beside::read(&self.file, &self.history, &self.holes)
    }

    /// The coded symbols of the set.
    pub(super) fn symbols(&self) -> Result<&[[u8; 32]], ArchiveError> {
        Ok(self.file.slice(self.symbols.clone())?.as_chunks().0)
    }
}

/// Some elements of an array of chunks of `N` bytes.
pub(super) fn elements<'a, const N: usize>(
    file: &'a BlockFile,
    array: &Range<usize>,
    places: Range<usize>,
) -> Result<&'a [[u8; N]], ArchiveError> {
    let (start, end) = (array.start + N * places.start, array.start + N * places.end);
    if start > end || end > array.end {
        return Err(file.inconsistent());
    }
    Ok(file.slice(start..end)?.as_chunks().0)
}

impl BaseArrays for BaseFile {
    fn len(&self) -> usize {
        self.len
    }

    fn ids(&self, places: Range<usize>) -> Result<&[Hash], ArchiveError> {
        elements(&self.file, &self.ids, places)
    }

    fn positions(&self, places: Range<usize>) -> Result<&[PackedPosition], ArchiveError> {
        elements(&self.file, &self.positions, places)
    }

    fn page_start(&self, page: usize) -> Result<usize, ArchiveError> {
        let start = elements::<4>(&self.file, &self.starts, page..page + 1)?.first();
        let start = start.map_or(usize::MAX, |start| u32::from_le_bytes(*start) as usize);
        if start <= self.len { Ok(start) } else { Err(self.file.inconsistent()) }
    }

    fn hashes(&self, places: Range<usize>) -> Result<&[Hash], ArchiveError> {
        elements(&self.file, &self.hashes, places)
    }

    fn inconsistent(&self) -> ArchiveError {
        self.file.inconsistent()
    }
}

/// Writes the payload of a base; returns the hash of the uppermost subtree.
pub(super) fn write(
    writer: &mut BlockWriter<'_>,
    count: u64,
    entries: impl Iterator<Item = Result<Entry, ArchiveError>>,
    beside: &Beside,
    progress: &mut dyn FnMut(u64),
) -> Result<Hash, WriteError> {
    let mut builder = BaseBuilder::new(count);
    let mut positions: Vec<PackedPosition> = Vec::new();
    let ids_start = writer.len();
    for entry in entries {
        let entry = entry?;
        builder.push(&entry)?;
        writer.write(&entry.id)?;
        positions.push(
            pack_position(entry.position)
                .ok_or(WriteError::PositionTooLarge { position: entry.position })?,
        );
        if positions.len().is_multiple_of(65_536) {
            progress(positions.len() as u64);
        }
    }
    let built = builder.finish(count)?;
    let len = positions.len();
    let positions_start = writer.len();
    writer.write(positions.as_flattened())?;
    let starts = write_numbers(writer, built.starts.iter().copied())?;
    let hashes_start = writer.len();
    for hashes in built.blocks() {
        writer.write(hashes.as_flattened())?;
    }
    let hashes_len = (writer.len() - hashes_start) / 32;
    let BesideArrays { history, holes, symbols } = beside.write(writer)?;
    let root = BasePayload {
        ids: Array::new(ids_start, len),
        positions: Array::new(positions_start, len),
        starts,
        hashes: Array::new(hashes_start, hashes_len),
        history,
        holes,
        symbols,
    };
    writer.align(16)?;
    let root = payload::root(&root, writer.len()).map_err(|_| WriteError::Payload)?;
    writer.write(&root)?;
    Ok(built.top_hash)
}

pub(super) fn write_numbers(
    writer: &mut BlockWriter<'_>,
    numbers: impl Iterator<Item = u32>,
) -> Result<Array<u32_le>, WriteError> {
    writer.align(16)?;
    let start = writer.len();
    for number in numbers {
        writer.write(&number.to_le_bytes())?;
    }
    Ok(Array::new(start, (writer.len() - start) / 4))
}
