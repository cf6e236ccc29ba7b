//! Many bodies in one piece of memory.

use core::ops::Range;

use stemedb_merkle::Hash;

use crate::{internal::internal_error, keys::Keys};

/// Bodies behind one another: a list of its own for each would take longer to make than to fill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyList {
    bytes: Vec<u8>,
    /// Where each body ends.
    ends: Vec<usize>,
}

/// Bodies with their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashedBodies {
    bodies: BodyList,
    ids: Vec<Hash>,
}

impl BodyList {
    /// Makes room for so many bytes of bodies.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Adds a body.
    pub fn push(&mut self, body: &[u8]) {
        self.bytes.extend_from_slice(body);
        self.ends.push(self.bytes.len());
    }

    /// Adds a body that has its own memory, which is kept if it is the first.
    pub(crate) fn push_owned(&mut self, body: Vec<u8>) {
        if self.bytes.is_empty() {
            self.bytes = body;
            self.ends.push(self.bytes.len());
        } else {
            self.push(&body);
        }
    }

    /// How many bodies.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many bytes all of them have together.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that the bodies take.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    /// The bodies, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = core::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.body(start..*end))
    }

    /// A body that is not there must not be taken for an empty one.
    fn body(&self, at: Range<usize>) -> &[u8] {
        self.bytes.get(at).unwrap_or_else(|| internal_error("a body"))
    }
}

impl<B: AsRef<[u8]>> FromIterator<B> for BodyList {
    fn from_iter<I: IntoIterator<Item = B>>(bodies: I) -> Self {
        let mut list = Self::default();
        bodies.into_iter().for_each(|body| list.push(body.as_ref()));
        list
    }
}

impl HashedBodies {
    /// Bodies and their ids, which cost less together.
    pub fn new(keys: &Keys, bodies: BodyList) -> Self {
        let ids = keys.ids(bodies.iter());
        Self { bodies, ids }
    }

    /// How many bodies.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many bytes all of them have together.
    pub fn bytes_len(&self) -> usize {
        self.bodies.bytes_len()
    }

    /// The bodies with their ids, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Hash, &[u8])> {
        self.ids.iter().copied().zip(self.bodies.iter())
    }

    /// The ids, in order.
    pub fn ids(&self) -> &[Hash] {
        &self.ids
    }
}
