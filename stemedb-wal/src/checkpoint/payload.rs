//! The payloads of checkpoint files as rkyv has them: flat arrays of plain types, nothing else.
//!
//! The arrays are written one after the other as they come, so that a base of any size needs little
//! memory; the root that says where they lie comes last. They are read through rkyv's checked
//! access once, to learn where they lie, and are plain bytes from then on whose blocks are checked
//! before they are used: checked access proves that nothing lies outside the file, not that it is
//! what was written.

use core::{marker::PhantomData, ops::Range};

use rkyv::{
    Archive, Place, Portable, Serialize,
    api::{high::HighValidator, serialize_using},
    bytecheck::CheckBytes,
    rancor::{Error, Fallible, Strategy},
    rend::u32_le,
    ser::{Positional, Writer},
    vec::{ArchivedVec, VecResolver},
};

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
    /// The coded symbols of the set, if it was compared with another, as its sketch writes them.
    pub(super) symbols: Array<[u8; 32]>,
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
    /// The coded symbols of the set, if it was compared with another, as its sketch writes them.
    pub(super) symbols: Array<[u8; 32]>,
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

/// How long the root of a base's payload is, in bytes.
pub(super) const BASE_ROOT_LEN: usize = size_of::<ArchivedBasePayload>();

/// How long the root of a delta's payload is, in bytes.
pub(super) const DELTA_ROOT_LEN: usize = size_of::<ArchivedDeltaPayload>();

/// The root of a payload, checked; `None` if an array lies outside.
pub(super) fn read<P>(payload: &[u8]) -> Option<&P>
where
    P: Portable + for<'a> CheckBytes<HighValidator<'a, Error>>,
{
    rkyv::access::<P, Error>(payload).ok()
}

/// Where in a payload one of its arrays lies, in bytes.
pub(super) fn place<T>(payload: &[u8], array: &ArchivedVec<T>) -> Range<usize> {
    let array = array.as_slice();
    let start = (array.as_ptr() as usize).saturating_sub(payload.as_ptr() as usize);
    start..start + size_of_val(array)
}
