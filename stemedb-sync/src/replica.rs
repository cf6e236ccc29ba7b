//! What a session needs of a store.

use stemedb_merkle::{Hash, Snapshot};

use crate::{
    keys::Keys,
    message::{LogHead, NodeId, SetHead},
    symbols::Sketch,
};

/// Who a store is among its peers.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its node id.
    pub node: NodeId,
    /// The epoch of its log.
    pub epoch: u64,
    /// What follows from the cluster secret.
    pub keys: Keys,
}

/// A store at one moment: all parts say the same.
#[derive(Clone, Debug)]
pub struct Pin {
    /// The set.
    pub snapshot: Snapshot,
    /// The log.
    pub log: LogHead,
    /// The first coded symbols of the set. Without them the other layers do.
    pub sketch: Option<Sketch>,
}

impl Pin {
    /// Count and root of the set.
    pub fn set(&self) -> SetHead {
        SetHead { count: self.snapshot.len(), root: self.snapshot.root() }
    }
}

/// What could not be read of the store at hand; its own messages say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a part of the store could not be read; check the store")]
pub struct Unreadable;

/// What a [`Responder`](crate::Responder) asks of its store. All calls may read from the disk.
pub trait Source {
    /// The store now.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn pin(&self) -> Result<Pin, Unreadable>;

    /// Count and root of the set and of the log now: [`pin`](Self::pin) without the rest.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn head(&self) -> Result<(SetHead, LogHead), Unreadable> {
        self.pin().map(|pin| (pin.set(), pin.log))
    }

    /// The history root of the first `size` entries; `None` if there are not as many.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn log_root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable>;

    /// The body of an id, checked against it; `None` if the store does not hold it.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable>;

    /// The body of an entry of the log; `None` if it was lost or there is no such entry.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable>;
}

impl<S: Source + ?Sized> Source for &S {
    fn pin(&self) -> Result<Pin, Unreadable> {
        (**self).pin()
    }

    fn head(&self) -> Result<(SetHead, LogHead), Unreadable> {
        (**self).head()
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Hash>, Unreadable> {
        (**self).log_root_at(size)
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        (**self).body(id)
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        (**self).entry(index)
    }
}
