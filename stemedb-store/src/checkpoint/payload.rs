//! The payloads of checkpoint files as rkyv has them: flat arrays of plain types, nothing else.
//!
//! The arrays are written one after the other as they come, so that a base of any size needs little
//! memory; the root that says where they lie comes last. What rkyv makes of flat arrays is so
//! simple that the root is read without it: it would have to see the whole file as one piece of
//! memory. All else are plain bytes whose blocks are checked before they are used.

use core::{marker::PhantomData, ops::Range};

use rkyv::{
    Archive, Place, Portable, Serialize,
    api::serialize_using,
    rancor::{Error, Fallible, Strategy},
    rend::u32_le,
    ser::{Positional, Writer},
    vec::{ArchivedVec, VecResolver},
};

use stemedb_merkle::MappedSetError;

use super::{CheckpointFault, blocks::BlockFile};

/// An array that has been written already: where it begins and how many elements it has.
#[derive(Debug)]
pub(super) struct Array<T> {
    start: usize,
    len: usize,
    element: PhantomData<T>,
}

impl<T> Array<T> {
    pub(super) fn new(start: usize, len: usize) -> Self {
        Self { start, len, element: PhantomData }
    }
}

impl<T: Portable> Archive for Array<T> {
    type Archived = ArchivedVec<T>;
    type Resolver = ();

    fn resolve(&self, (): (), out: Place<ArchivedVec<T>>) {
        ArchivedVec::resolve_from_len(self.len, VecResolver::from_pos(self.start), out);
    }
}

impl<T: Portable, S: Fallible + ?Sized> Serialize<S> for Array<T> {
    fn serialize(&self, _: &mut S) -> Result<(), S::Error> {
        Ok(())
    }
}

/// A block of the filter over the ids: eight words of 64 bits, little-endian.
pub(super) type FilterBlock = [u8; 64];

/// What a base holds.
#[derive(Archive, Serialize, Debug)]
pub(super) struct BasePayload {
    /// The ids, sorted.
    pub(super) ids: Array<[u8; 32]>,
    /// The position beside each, in six bytes.
    pub(super) positions: Array<[u8; 6]>,
    /// The place of the first id of each page, and the number of ids.
    pub(super) starts: Array<u32_le>,
    /// The hashes above the pages, in blocks.
    pub(super) hashes: Array<[u8; 32]>,
    /// The nodes of the history tree's incomplete tiles.
    pub(super) history: Array<[u8; 32]>,
    /// The entries whose bodies are lost: id, then index and time, each a u64.
    pub(super) holes: Array<[u8; 48]>,
    /// The coded symbols of the set, as its sketch writes them; none of a small one.
    pub(super) symbols: Array<[u8; 32]>,
    /// The segments that begin before its end: first index, first position, salt, time before,
    /// each a u64, checksum of the trailer before and end of the batches, each a u32.
    pub(super) segments: Array<[u8; 40]>,
    /// The filter over the ids.
    pub(super) filter: Array<FilterBlock>,
}

/// What a delta holds.
#[derive(Archive, Serialize, Debug)]
pub(super) struct DeltaPayload {
    /// The ids that came, sorted.
    pub(super) ids: Array<[u8; 32]>,
    /// The position beside each, in six bytes.
    pub(super) positions: Array<[u8; 6]>,
    /// For each depth of blocks from 0 in steps of four, where its blocks begin; then their number.
    pub(super) levels: Array<u32_le>,
    /// The prefix of each block, sorted within its depth.
    pub(super) prefixes: Array<u32_le>,
    /// Which of its subtrees hold an id.
    pub(super) occupied: Array<u32_le>,
    /// Which hold two ids or more.
    pub(super) many: Array<u32_le>,
    /// The hashes of each block.
    pub(super) hashes: Array<[u8; 32]>,
    /// The nodes of the history tree's incomplete tiles.
    pub(super) history: Array<[u8; 32]>,
    /// The entries whose bodies are lost: id, then index and time, each a u64.
    pub(super) holes: Array<[u8; 48]>,
    /// The coded symbols of the set, as its sketch writes them; none of a small one.
    pub(super) symbols: Array<[u8; 32]>,
    /// The segments that begin before its end: first index, first position, salt, time before,
    /// each a u64, checksum of the trailer before and end of the batches, each a u32.
    pub(super) segments: Array<[u8; 40]>,
    /// The filter over the ids.
    pub(super) filter: Array<FilterBlock>,
}

/// The root of a payload, which goes behind its arrays; `written` is how long these are.
pub(super) fn root<P>(payload: &P, written: usize) -> Result<Vec<u8>, Error>
where
    P: Serialize<Strategy<Tail, Error>>,
{
    let mut tail = Tail { before: written, bytes: Vec::new() };
    serialize_using::<_, Error>(payload, &mut tail)?;
    Ok(tail.bytes)
}

/// Takes in what follows the arrays.
#[derive(Debug)]
pub(super) struct Tail {
    before: usize,
    bytes: Vec<u8>,
}

impl Positional for Tail {
    fn pos(&self) -> usize {
        self.before + self.bytes.len()
    }
}

impl Writer<Error> for Tail {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

/// How many bytes the root has for each array: where the array begins, counted from here, and how
/// many elements it has, eight bytes each.
const ARRAY_LEN: usize = 16;

/// Where the arrays of a payload lie, in bytes, by the sizes of their elements.
///
/// The root is checked against what is possible: each array lies before it.
pub(super) fn arrays<const N: usize>(
    file: &BlockFile,
    element_lens: [usize; N],
) -> Result<[Range<usize>; N], CheckpointFault> {
    let root_start = file.len().checked_sub(N * ARRAY_LEN).ok_or(CheckpointFault::Payload)?;
    let mut root = [[[0; 8]; 2]; N];
    file.read(root_start, root.as_flattened_mut().as_flattened_mut())
        .map_err(CheckpointFault::MappedSet)?;
    let mut arrays = [const { 0..0 }; N];
    for (number, (array, ([offset, len], element_len))) in
        arrays.iter_mut().zip(root.into_iter().zip(element_lens)).enumerate()
    {
        let at = root_start + number * ARRAY_LEN;
        let place = place(at, root_start, i64::from_le_bytes(offset), len, element_len);
        *array = place.ok_or(CheckpointFault::Payload)?;
    }
    Ok(arrays)
}

/// Where an array lies whose offset is written down at `at`.
fn place(
    at: usize,
    root_start: usize,
    offset: i64,
    len: [u8; 8],
    element_len: usize,
) -> Option<Range<usize>> {
    let start = usize::try_from(i64::try_from(at).ok()?.checked_add(offset)?).ok()?;
    let len = usize::try_from(u64::from_le_bytes(len)).ok()?.checked_mul(element_len)?;
    let end = start.checked_add(len).filter(|end| *end <= root_start)?;
    Some(start..end)
}

/// Copies elements of an array of chunks of `N` bytes, from the place `first` on.
pub(super) fn elements<const N: usize>(
    file: &BlockFile,
    array: &Range<usize>,
    first: usize,
    into: &mut [[u8; N]],
) -> Result<(), MappedSetError> {
    let start = first.checked_mul(N).and_then(|at| at.checked_add(array.start));
    let start = start
        .filter(|start| start.checked_add(size_of_val(into)).is_some_and(|end| end <= array.end));
    let start = start.ok_or_else(|| file.inconsistent())?;
    file.read(start, into.as_flattened_mut())
}

#[cfg(test)]
mod tests {
    use rkyv::rancor::Error;

    use super::*;
    use crate::checkpoint::tests::chain;
    use stemedb_simdisk::FaultyDisk;
    use stemedb_wal::disk::{Bytes, Disk};

    fn place_of<T>(payload: &[u8], array: &ArchivedVec<T>) -> Range<usize> {
        let array = array.as_slice();
        let start = array.as_ptr().addr() - payload.as_ptr().addr();
        start..start + size_of_val(array)
    }

    /// The root is read by hand, and rkyv reads the same in it.
    #[test]
    fn rkyv_finds_the_arrays_where_they_are_found_here() {
        let disk = FaultyDisk::new(1);
        let (checkpoint, _) = chain(&disk);
        for (name, _) in checkpoint.file_sizes() {
            let file = BlockFile::open(&disk, &name, false).unwrap();
            let bytes: &dyn Bytes = &*disk.map(&name, false).unwrap();
            let mut payload = rkyv::util::AlignedVec::<16>::new();
            payload.resize(file.len(), 0);
            bytes.read_at(&mut payload, crate::checkpoint::header::HEADER_LEN).unwrap();
            if name.starts_with("base") {
                let root = rkyv::access::<ArchivedBasePayload, Error>(&payload).unwrap();
                let arrays = arrays(&file, [32, 6, 4, 32, 32, 48, 32, 40, 64]).unwrap();
                assert_eq!(arrays[0], place_of(&payload, &root.ids));
                assert_eq!(arrays[1], place_of(&payload, &root.positions));
                assert_eq!(arrays[2], place_of(&payload, &root.starts));
                assert_eq!(arrays[3], place_of(&payload, &root.hashes));
                assert_eq!(arrays[4], place_of(&payload, &root.history));
                assert_eq!(arrays[5], place_of(&payload, &root.holes));
                assert_eq!(arrays[6].len(), place_of(&payload, &root.symbols).len());
                assert_eq!(arrays[7].len(), place_of(&payload, &root.segments).len());
                assert_eq!(arrays[8], place_of(&payload, &root.filter));
            } else {
                let root = rkyv::access::<ArchivedDeltaPayload, Error>(&payload).unwrap();
                let arrays = arrays(&file, [32, 6, 4, 4, 4, 4, 32, 32, 48, 32, 40, 64]).unwrap();
                assert_eq!(arrays[0], place_of(&payload, &root.ids));
                assert_eq!(arrays[1], place_of(&payload, &root.positions));
                assert_eq!(arrays[2], place_of(&payload, &root.levels));
                assert_eq!(arrays[3], place_of(&payload, &root.prefixes));
                assert_eq!(arrays[4], place_of(&payload, &root.occupied));
                assert_eq!(arrays[5], place_of(&payload, &root.many));
                assert_eq!(arrays[6], place_of(&payload, &root.hashes));
                assert_eq!(arrays[7], place_of(&payload, &root.history));
                assert_eq!(arrays[8], place_of(&payload, &root.holes));
                assert_eq!(arrays[9].len(), place_of(&payload, &root.symbols).len());
                assert_eq!(arrays[10].len(), place_of(&payload, &root.segments).len());
                assert_eq!(arrays[11], place_of(&payload, &root.filter));
            }
        }
    }
}
