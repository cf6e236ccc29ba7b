//! The log's entries with their bodies, in order.

use std::{collections::VecDeque, ops::RangeBounds};

use bytes::Bytes;

use stemedb_merkle::{AssertionId, LogIndex};
use stemedb_wal::log::{Kind, Placed, Records as LogRecords};

use super::{Entry, StoreReader};
use crate::error::ReadError;

/// How many bodies are held against their ids together.
const CHECKED_AT_ONCE: usize = 256;

/// How many bytes of bodies are read ahead, by default.
const AHEAD_LEN: usize = 1 << 20;

/// Entries of the log with their bodies; see [`StoreReader::records`].
#[derive(Debug)]
pub struct Records<'a> {
    store: &'a StoreReader,
    inner: LogRecords,
    body_len_max: usize,
    ahead_len: usize,
    ready: VecDeque<Result<(Entry, Option<Bytes>), ReadError>>,
}

impl StoreReader {
    /// The entries of a range of indexes, in order, each with its body unless that is lost, or
    /// longer than `body_len_max` bytes. The body of a hole that was filled comes from where it is.
    ///
    /// Reads blocks of 1 MiB, and checks ids side by side: this is how many bodies are read that
    /// follow one another in the log. An entry or a body that can't be read is an error in its
    /// place, and the next one follows. At most [1 MiB](Records::ahead) of bodies and one more are
    /// kept, beside the block.
    pub fn records(&self, indexes: impl RangeBounds<LogIndex>, body_len_max: usize) -> Records<'_> {
        Records {
            store: self,
            inner: self.reader.records(self.indexes(indexes), body_len_max),
            body_len_max,
            ahead_len: AHEAD_LEN,
            ready: VecDeque::new(),
        }
    }
}

impl Records<'_> {
    /// The same, for a caller that is done once it has about so many bytes of bodies.
    #[must_use]
    pub fn ahead(self, bytes: usize) -> Self {
        Self { inner: self.inner.ahead(bytes), ahead_len: bytes, ..self }
    }

    fn read_ahead(&mut self) {
        let mut read = Vec::new();
        // Which of what is ready it belongs to.
        let mut numbers = Vec::new();
        let mut bytes = 0;
        while self.ready.len() < CHECKED_AT_ONCE && bytes < self.ahead_len {
            let Some(next) = self.inner.next() else { break };
            let ready = match next {
                Ok((placed, None)) => self.without_body(&placed),
                Ok((placed, Some(body))) => {
                    bytes += body.len();
                    numbers.push(self.ready.len());
                    read.push((placed, body));
                    Ok((Entry::new(&placed, false), None))
                }
                Err(error) => Err(error.into()),
            };
            self.ready.push_back(ready);
        }
        let mut wrong = self.store.check_bodies(&read).into_iter().peekable();
        for (at, ((_, body), number)) in read.into_iter().zip(numbers).enumerate() {
            let Some(ready) = self.ready.get_mut(number) else { continue };
            match wrong.next_if(|(wrong, _)| *wrong == at) {
                Some((_, error)) => *ready = Err(error),
                None => {
                    if let Ok((_, missing)) = ready {
                        *missing = Some(body.into());
                    }
                }
            }
        }
    }

    /// An entry that came without its body: a hole, which may be filled, or one that is too long.
    fn without_body(&self, placed: &Placed) -> Result<(Entry, Option<Bytes>), ReadError> {
        let entry = self.store.entry_of(placed)?;
        let filled = placed.kind == Kind::Hole && !entry.hole;
        if filled && placed.len as usize <= self.body_len_max {
            return Ok((entry, self.store.get(&AssertionId(placed.id))?.map(Bytes::from)));
        }
        Ok((entry, None))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(Entry, Option<Bytes>), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            self.read_ahead();
        }
        self.ready.pop_front()
    }
}

impl std::iter::FusedIterator for Records<'_> {}
