//! Bodies that are appended together, and their ids.

use std::{
    borrow::Cow,
    ops::{Deref, Range},
};

use stemedb_merkle::Hash;
use stemedb_wal::repair::HashBodies;

use super::buffers::Buffer;
use crate::{
    index::{Absent, Asked},
    options::BodyHasher,
};

/// Priority class of what is queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Appends of the program itself.
    #[default]
    Own,
    /// Bodies that come from peers, by the thousand. They give way: while the program appends,
    /// each commit takes one submission of them and no more.
    Peer,
}

/// Bodies that are appended together.
#[derive(Debug, Default)]
pub(crate) struct Submission<'a> {
    ids: Vec<Hash>,
    /// One body as it was given, or several bodies behind one another.
    bytes: Bytes<'a>,
    /// Where each of several bodies ends.
    ends: Vec<usize>,
    single: Option<Hash>,
    /// The positions of bodies that are held, where they were looked up.
    held: Vec<Option<u64>>,
    /// What the others are absent from.
    absent_from: Absent,
    priority: Priority,
}

#[derive(Debug)]
enum Bytes<'a> {
    Given(Cow<'a, [u8]>),
    Copied(Buffer),
}

impl Default for Bytes<'_> {
    fn default() -> Self {
        Self::Given(Cow::default())
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Given(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl Bytes<'_> {
    fn into_owned(self) -> Bytes<'static> {
        match self {
            Self::Given(bytes) => Bytes::Given(bytes.into_owned().into()),
            Self::Copied(bytes) => Bytes::Copied(bytes),
        }
    }
}

impl<'a> Submission<'a> {
    /// No bodies yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One body, borrowed or taken over: it is not copied before it is written, unless it has to
    /// wait in the queue.
    pub(crate) fn one(id: Hash, body: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { bytes: Bytes::Given(body.into()), single: Some(id), ..Self::default() }
    }

    /// The same bodies, which own their bytes.
    pub(crate) fn into_owned(self) -> Submission<'static> {
        let Self { ids, bytes, ends, single, held, absent_from, priority } = self;
        let bytes = bytes.into_owned();
        Submission { ids, bytes, ends, single, held, absent_from, priority }
    }

    /// The same bodies in another class.
    #[must_use]
    pub(crate) fn with_priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Class in which the bodies wait.
    pub(crate) fn priority(&self) -> Priority {
        self.priority
    }

    /// No bodies yet; so many are copied into this.
    pub(crate) fn in_buffer(bytes: Buffer, records: usize) -> Self {
        let (ids, ends) = (Vec::with_capacity(records), Vec::with_capacity(records));
        Self { ids, ends, bytes: Bytes::Copied(bytes), ..Self::default() }
    }

    /// Adds a body, whose id is known.
    pub(crate) fn push(&mut self, id: Hash, body: &[u8]) {
        if let Some(first) = self.single.take() {
            self.ids.push(first);
            self.ends.push(self.bytes.len());
        }
        self.ids.push(id);
        match &mut self.bytes {
            Bytes::Given(bytes) => bytes.to_mut().extend_from_slice(body),
            Bytes::Copied(bytes) => bytes.extend(body),
        }
        self.ends.push(self.bytes.len());
    }

    /// How many bodies.
    pub(crate) fn len(&self) -> usize {
        if self.single.is_some() { 1 } else { self.ids.len() }
    }

    /// How many bytes all bodies have together.
    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Notes which bodies are held, and where, by `find`; and what the others are absent from.
    pub(crate) fn look_up(&mut self, find: impl FnOnce(&[Hash]) -> (Vec<Option<u64>>, Absent)) {
        (self.held, self.absent_from) = match &self.single {
            Some(id) => find(std::slice::from_ref(id)),
            None => find(&self.ids),
        };
    }

    /// Where each body is held, in order, as far as was noted.
    pub(crate) fn held(&self) -> impl Iterator<Item = Option<u64>> {
        self.held.iter().copied().chain(std::iter::repeat(None)).take(self.len())
    }

    /// The bodies of which nothing was noted but what they are absent from, in order.
    pub(crate) fn asked(&self) -> impl Iterator<Item = Asked> {
        let asked = |id| Asked { id, absent_from: self.absent_from };
        let ids = self.single.iter().chain(&self.ids).copied().zip(self.held());
        ids.filter(|(_, held)| held.is_none()).map(move |(id, _)| asked(id))
    }

    /// The bodies and their ids, in order.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = (Hash, &[u8])> {
        let single = self.single.map(|id| (id, &*self.bytes));
        let many = self.ids.iter().copied().zip(bodies(&self.bytes, 0, &self.ends));
        single.into_iter().chain(many)
    }
}

/// Makes a submission of bodies, many of which are hashed side by side.
#[derive(Debug)]
pub(crate) struct SubmissionBuilder {
    hasher: BodyHasher,
    ids: Vec<Hash>,
    bytes: Buffer,
    ends: Vec<usize>,
}

/// How many bodies are hashed together: enough to fill all lanes, and few enough that short ones
/// are still in the cache.
const HASHED_AT_ONCE: usize = 256;

impl SubmissionBuilder {
    /// No bodies yet.
    pub(crate) fn new(hasher: BodyHasher) -> Self {
        Self::in_buffer(hasher, Buffer::default())
    }

    /// No bodies yet; they are copied into this.
    pub(crate) fn in_buffer(hasher: BodyHasher, bytes: Buffer) -> Self {
        Self { hasher, ids: Vec::new(), bytes, ends: Vec::new() }
    }

    /// Adds a body.
    pub(crate) fn push(&mut self, body: &[u8]) {
        self.bytes.extend(body);
        self.ends.push(self.bytes.len());
        if self.ends.len() - self.ids.len() == HASHED_AT_ONCE {
            self.hash();
        }
    }

    /// How many bodies.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many bytes all bodies have together.
    pub(crate) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The bodies that were added; the next one begins another submission.
    pub(crate) fn take(&mut self) -> Submission<'static> {
        self.hash();
        let Self { ids, bytes, ends, .. } = std::mem::replace(self, Self::new(self.hasher));
        Submission { ids, bytes: Bytes::Copied(bytes), ends, ..Submission::new() }
    }

    /// Adds the ids of the bodies that have none yet.
    fn hash(&mut self) {
        let hashed = self.ids.len();
        let (before, ends) = self.ends.split_at(hashed);
        let start = before.last().copied().unwrap_or(0);
        let bodies: Vec<&[u8]> = bodies(&self.bytes, start, ends).collect();
        self.hasher.ids(&bodies, &mut self.ids);
    }
}

/// Bodies that lie behind one another from `start` on, by where each ends.
fn bodies<'a>(bytes: &'a [u8], start: usize, ends: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let starts = std::iter::once(start).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| body(bytes, start..*end))
}

/// A body that is not there must not be taken for an empty one.
fn body(bytes: &[u8], at: Range<usize>) -> &[u8] {
    bytes.get(at).unwrap_or_else(|| unreachable!("internal error: a body is gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the number and lengths of the bodies, each has its own id and its own bytes.
    #[test]
    fn bodies_keep_their_order_and_have_their_ids() {
        for key in [None, Some([7; 32])] {
            let one = |body: &[u8]| match &key {
                None => *blake3::hash(body).as_bytes(),
                Some(key) => *blake3::keyed_hash(key, body).as_bytes(),
            };
            let mut builder = SubmissionBuilder::new(BodyHasher::new(key));
            for count in [0, 1, 2, 255, 256, 257, 600] {
                let bodies: Vec<Vec<u8>> =
                    (0..count).map(|n: u16| n.to_le_bytes().repeat(usize::from(n % 700))).collect();
                for body in &bodies {
                    builder.push(body);
                }
                assert_eq!(builder.len(), bodies.len());
                let submission = builder.take();
                assert_eq!((submission.len(), builder.len()), (bodies.len(), 0));
                let expected = bodies.iter().map(|body| (one(body), body.as_slice()));
                assert!(submission.bodies().eq(expected), "{count} bodies");
            }
        }
    }
}
