//! A store as a session sees it, without log, disk or sockets.

use std::collections::HashMap;
use std::sync::Arc;

use stemedb_merkle::symbols::{SKETCH_LEN, Sketch};
use stemedb_merkle::{Entry, Hash, MerkleTree, Root};
use stemedb_merkle::{
    Timestamp,
    history::{History, LogSize, TreeHead, leaf_hash},
};
use stemedb_sync::message::SetHead;
use stemedb_sync::{Identity, Keys, Pin, Source, Unreadable};

use crate::Failure;
use crate::body::{self, BODY_LEN};

/// Ids, their tree, and their first coded symbols as a store maintains them.
pub(crate) struct Side {
    pub(crate) identity: Identity,
    tree: MerkleTree,
    sketch: Arc<Sketch>,
    log: TreeHead,
    /// The size of the log before the last bodies were appended, and its root then.
    log_before: Option<TreeHead>,
    /// The numbers of the bodies whose ids are known, for those that have any.
    bodies: HashMap<Hash, u64>,
    /// The last entries of the log, by number of body.
    tail: Vec<u64>,
    /// Bytes of each body.
    body_len: usize,
}

impl Side {
    /// Of ids that belong to no bodies.
    pub(crate) fn new(node: u8, ids: &[Hash]) -> Result<Self, Failure> {
        let identity = Identity { node: [node; 16], epoch: 1, keys: Keys::new(None) };
        let sketch = Arc::new(Sketch::new(identity.keys.symbol_key(), SKETCH_LEN));
        let mut side = Self {
            identity,
            tree: MerkleTree::new(),
            sketch,
            // Nobody looks at the log but for a cursor.
            log: TreeHead { size: LogSize(ids.len() as u64), root: Root([node; 32]) },
            log_before: None,
            bodies: HashMap::new(),
            tail: Vec::new(),
            body_len: BODY_LEN,
        };
        side.insert(ids)?;
        Ok(side)
    }

    /// The same, with bodies of so many bytes.
    pub(crate) fn with_body_len(self, body_len: usize) -> Self {
        Self { body_len, ..self }
    }

    /// Takes in ids; what is held already stays as it is.
    pub(crate) fn insert(&mut self, ids: &[Hash]) -> Result<(), Failure> {
        for ids in ids.chunks(1_000_000) {
            let first = self.tree.len();
            let entries: Vec<Entry> =
                ids.iter().zip(first..).map(|(&id, position)| Entry { id, position }).collect();
            if self.tree.insert_batch(&entries)? != ids.len() {
                return Err("an id came twice".into());
            }
            for id in ids {
                Arc::make_mut(&mut self.sketch).insert(id);
            }
        }
        self.log.size = LogSize(self.tree.len());
        Ok(())
    }

    /// Appends bodies to a log whose earlier entries are the ids held so far, in `order`.
    pub(crate) fn append(&mut self, order: &[Hash], numbers: &[u64]) -> Result<(), Failure> {
        let mut history = History::default();
        let leaves = |ids: &[Hash], first| {
            ids.iter()
                .zip(first..)
                .map(|(id, time)| leaf_hash(Timestamp::from_ntp64(time), id))
                .collect::<Vec<_>>()
        };
        history.extend(leaves(order, 0), |_| {});
        self.log_before =
            Some(TreeHead { size: LogSize(order.len() as u64), root: history.root() });
        let ids: Vec<Hash> = numbers.iter().map(|number| self.know(*number)).collect();
        history.extend(leaves(&ids, order.len() as u64), |_| {});
        self.insert(&ids)?;
        self.log.root = history.root();
        self.tail = numbers.to_vec();
        Ok(())
    }

    /// Makes the body of a number known, and gives its id.
    pub(crate) fn know(&mut self, number: u64) -> Hash {
        let id = self.identity.keys.id(&self.body_of(number));
        self.bodies.insert(id, number);
        id
    }

    fn body_of(&self, number: u64) -> Vec<u8> {
        body::body(number)[..self.body_len].to_vec()
    }

    /// The log as it was before the last [`append`](Self::append).
    pub(crate) fn log_before(&self) -> Option<TreeHead> {
        self.log_before
    }

    /// Takes in bodies that came from the peer, and gives their ids.
    pub(crate) fn take<'a>(
        &mut self,
        bodies: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<Hash>, Failure> {
        let ids: Vec<Hash> = bodies.map(|body| self.identity.keys.id(body)).collect();
        self.insert(&ids)?;
        Ok(ids)
    }

    pub(crate) fn now(&self) -> Pin {
        let sketch = Some(Arc::clone(&self.sketch));
        Pin { snapshot: self.tree.snapshot(), log: self.log, sketch }
    }
}

impl Source for Side {
    fn pin(&self) -> Result<Pin, Unreadable> {
        Ok(self.now())
    }

    fn head(&self) -> Result<(SetHead, TreeHead), Unreadable> {
        Ok((SetHead { count: self.tree.len(), root: self.tree.root() }, self.log))
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Root>, Unreadable> {
        let heads = [Some(self.log), self.log_before];
        Ok(heads.into_iter().flatten().find(|head| head.size.0 == size).map(|head| head.root))
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        Ok(self.bodies.get(id).map(|number| self.body_of(*number)))
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        let Some(before) = self.log_before else { return Ok(None) };
        let place = index.checked_sub(before.size.0).map(|place| place as usize);
        let number = place.and_then(|place| self.tail.get(place));
        Ok(number.map(|number| self.body_of(*number)))
    }
}

/// Bytes of one body of these.
pub(crate) const LEN: u64 = BODY_LEN as u64;
