//! Reading many bodies at once.
//!
//! Positions of many ids are looked up side by side, the records read in the order of the log, and
//! the ids of the bodies computed in SIMD lanes. What was asked for comes in the order asked.

use std::{collections::VecDeque, fmt, ops::ControlFlow};

use bytes::Bytes;
use stemedb_merkle::{AssertionId, Hash, LogIndex};
use stemedb_wal::{Position, log::Placed};

use super::{Entry, StoreReader};
use crate::error::ReadError;

/// How many bodies are read ahead, at first and at most.
const AHEAD_AT_FIRST: usize = 64;
const AHEAD_MAX: usize = 1024;

/// How many bytes of bodies are read ahead, by default.
const AHEAD_LEN: usize = 4 << 20;

/// Bodies of assertions, in the order in which they were asked for; see [`StoreReader::get_many`].
#[derive(Debug)]
pub struct Bodies<'a> {
    store: &'a StoreReader,
    ahead: Ahead<'a, AssertionId, Option<Bytes>>,
}

/// Entries of the log with their bodies, in the order in which they were asked for; see
/// [`StoreReader::get_many_indexes`].
#[derive(Debug)]
pub struct EntryBodies<'a> {
    store: &'a StoreReader,
    ahead: Ahead<'a, LogIndex, Option<(Entry, Bytes)>>,
}

impl StoreReader {
    /// The bodies of many assertions, in the order of the ids: what [`get`](Self::get) gives for
    /// each, damage of one not keeping the next from being read, and several times as fast.
    ///
    /// Up to 1,024 are read ahead, and no more once they have [4 MiB](Bodies::ahead): that and one
    /// body are the memory that is taken at a time.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = stemedb_store::Store::open(dir.path(), stemedb_store::Options::default())?;
    /// let ids = [store.append(b"one")?.id, store.append(b"another")?.id];
    /// let bodies = store.get_many(&ids).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(bodies, [Some("one".into()), Some("another".into())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_many<'a>(&'a self, ids: &'a [AssertionId]) -> Bodies<'a> {
        Bodies { store: self, ahead: Ahead::new(ids) }
    }

    /// Many entries of the log and their bodies, in the order of the indexes: what
    /// [`get_index`](Self::get_index) gives for each, read ahead as by
    /// [`get_many`](Self::get_many). For indexes that follow one another [`records`](Self::records)
    /// is faster.
    pub fn get_many_indexes<'a>(&'a self, indexes: &'a [LogIndex]) -> EntryBodies<'a> {
        EntryBodies { store: self, ahead: Ahead::new(indexes) }
    }

    /// Reads the bodies at positions in the order of the log, until they have `len_max` bytes, and
    /// hands on each with its number; those that are left out are not.
    fn read_sorted(
        &self,
        wanted: &mut [(Position, usize)],
        len_max: usize,
        each: &mut dyn FnMut(usize, Result<(Placed, Vec<u8>), ReadError>),
    ) {
        wanted.sort_unstable();
        let positions: Vec<Position> = wanted.iter().map(|(position, _)| *position).collect();
        let mut numbers = wanted.iter().map(|(_, number)| *number);
        let (mut read, mut numbers_read) = (Vec::with_capacity(positions.len()), Vec::new());
        let mut len = 0;
        let _ = self.reader.read_many(&positions, &mut |_, placed, body| {
            let Some(number) = numbers.next() else { return ControlFlow::Break(()) };
            match placed {
                Ok(placed) => {
                    len += body.len();
                    read.push((placed, std::mem::take(body)));
                    numbers_read.push(number);
                }
                Err(error) => each(number, Err(error.into())),
            }
            if len < len_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let mut wrong = self.check_bodies(&read).into_iter().peekable();
        for (at, (read, number)) in read.into_iter().zip(numbers_read).enumerate() {
            match wrong.next_if(|(wrong, _)| *wrong == at) {
                Some((_, error)) => each(number, Err(error)),
                None => each(number, Ok(read)),
            }
        }
    }
}

/// What is read ahead of the caller.
struct Ahead<'a, W, T> {
    /// What was asked for and is not given out yet.
    wanted: &'a [W],
    /// The first of that, as far as it was read; `None` of what is to be read when its turn comes:
    /// there were too many bytes before it in the log.
    read: VecDeque<Option<Result<T, ReadError>>>,
    /// How many are read at once.
    count: usize,
    len_max: usize,
}

impl<W, T> fmt::Debug for Ahead<'_, W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ahead").field("wanted", &self.wanted.len()).finish_non_exhaustive()
    }
}

impl<'a, W, T> Ahead<'a, W, T> {
    fn new(wanted: &'a [W]) -> Self {
        Self { wanted, read: VecDeque::new(), count: AHEAD_AT_FIRST, len_max: AHEAD_LEN }
    }

    /// Gives out the next item, with what was read of it, after `read_ahead` where nothing is.
    fn next(
        &mut self,
        read_ahead: impl FnOnce(&mut Self),
    ) -> Option<(&'a W, Option<Result<T, ReadError>>)> {
        if self.read.is_empty() && !self.wanted.is_empty() {
            read_ahead(self);
        }
        let (next, later) = self.wanted.split_first()?;
        self.wanted = later;
        Some((next, self.read.pop_front().flatten()))
    }

    /// What is to be read ahead together, each with the number by which it is [put](Self::put).
    fn begin(&mut self) -> &'a [W] {
        let now = self.wanted.get(..self.count).unwrap_or(self.wanted);
        self.read.resize_with(now.len(), || None);
        now
    }

    fn put(&mut self, number: usize, result: Result<T, ReadError>) {
        if let Some(place) = self.read.get_mut(number) {
            *place = Some(result);
        }
    }

    /// Takes note of how many bodies were read, and of how many bytes: of long ones fewer are read
    /// at once.
    fn note(&mut self, bodies: usize, bytes: usize) {
        let fit = bodies.saturating_mul(self.len_max) / bytes.max(1);
        self.count = (2 * self.count).min(fit).clamp(1, AHEAD_MAX);
    }
}

impl Bodies<'_> {
    /// The same, with about so many bytes of bodies read ahead at a time.
    #[must_use]
    pub fn ahead(mut self, bytes: usize) -> Self {
        self.ahead.len_max = bytes;
        self
    }
}

impl Iterator for Bodies<'_> {
    type Item = Result<Option<Bytes>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { store, ahead } = self;
        let (id, read) = ahead.next(|ahead| {
            let ids = ahead.begin();
            let hashes: Vec<Hash> = ids.iter().map(|id| id.0).collect();
            // Where the trees do not have everything, each tells so.
            let Ok(positions) = store.shared.index.positions(&hashes) else { return };
            let mut wanted = Vec::with_capacity(ids.len());
            for (number, position) in positions.into_iter().enumerate() {
                match position {
                    Some(position) => wanted.push((Position(position), number)),
                    None => ahead.put(number, Ok(None)),
                }
            }
            let (mut bodies, mut bytes) = (0, 0);
            store.read_sorted(&mut wanted, ahead.len_max, &mut |number, read| {
                let result = read.and_then(|(placed, body)| {
                    (bodies, bytes) = (bodies + 1, bytes + body.len());
                    if ids.get(number).is_some_and(|id| id.0 == placed.id) {
                        return Ok(Some(body.into()));
                    }
                    Err(ReadError::WrongId { index: placed.index, id: AssertionId(placed.id) })
                });
                ahead.put(number, result);
            });
            ahead.note(bodies, bytes);
        })?;
        Some(read.unwrap_or_else(|| Ok(store.get(id)?.map(Bytes::from))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ahead.wanted.len(), Some(self.ahead.wanted.len()))
    }
}

impl ExactSizeIterator for Bodies<'_> {}

impl std::iter::FusedIterator for Bodies<'_> {}

impl EntryBodies<'_> {
    /// The same, with about so many bytes of bodies read ahead at a time.
    #[must_use]
    pub fn ahead(mut self, bytes: usize) -> Self {
        self.ahead.len_max = bytes;
        self
    }
}

impl Iterator for EntryBodies<'_> {
    type Item = Result<Option<(Entry, Bytes)>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { store, ahead } = self;
        let (index, read) = ahead.next(|ahead| {
            let indexes = ahead.begin();
            let mut wanted = Vec::with_capacity(indexes.len());
            for (number, index) in indexes.iter().enumerate() {
                // What is wrong is told where it is read alone.
                wanted.extend(store.reader.likely_position(*index).map(|at| (at, number)));
            }
            let (mut bodies, mut bytes) = (0, 0);
            store.read_sorted(&mut wanted, ahead.len_max, &mut |number, read| {
                if let Ok((placed, body)) = read
                    && indexes.get(number) == Some(&placed.index)
                {
                    (bodies, bytes) = (bodies + 1, bytes + body.len());
                    ahead.put(number, Ok(Some((Entry::new(&placed, false), body.into()))));
                }
                // So is damage, and a hole may be filled from elsewhere.
            });
            ahead.note(bodies, bytes);
        })?;
        let alone = || Ok(store.get_index(*index)?.map(|(entry, body)| (entry, body.into())));
        Some(read.unwrap_or_else(alone))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.ahead.wanted.len(), Some(self.ahead.wanted.len()))
    }
}

impl ExactSizeIterator for EntryBodies<'_> {}

impl std::iter::FusedIterator for EntryBodies<'_> {}
