//! Heads that members tell each other.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foca::{BroadcastHandler, Invalidates};
use stemedb_merkle::Root;

use super::{
    key::{NodeKey, PublicKey, SIGNATURE_LEN, Signed, verify},
    member::Member,
    wire::{Reader, put_text},
};
use crate::{
    keys::Keys,
    message::{NodeId, SetHead},
};

/// The longest name of a version, in bytes.
pub const VERSION_LEN_MAX: usize = 32;

/// Heads of so many nodes are kept; beyond that those of members that are gone give way.
pub const HEADS_MAX: usize = 2 * super::MEMBERS_MAX;

/// Head of a node, by its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Count and root of its set.
    pub set: SetHead,
    /// How many entries its log has.
    pub log_size: u64,
    /// The time of the last one, NTP64.
    pub last_time: u64,
    /// The epoch of its log.
    pub epoch: u64,
    /// Its store's id.
    pub store: [u8; 16],
    /// The version of its program, at most [`VERSION_LEN_MAX`] bytes.
    pub version: String,
}

/// A head on its way: whose, and which of its heads it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) node: NodeId,
    /// The node's generation: heads of an earlier run are old.
    pub(super) run: u64,
    /// Counts the heads of a run.
    pub(super) number: u64,
    pub(super) head: Head,
}

/// The head of a node as it goes around: with the node's signature.
pub(super) fn sign(keys: &Keys, key: &NodeKey, news: &News) -> Vec<u8> {
    let mut bytes = news.encode();
    let signature = key.sign(keys, Signed::Head, &[&bytes]);
    bytes.extend(signature);
    bytes
}

impl News {
    /// node 16, run u64, number u64, count u64, root 32, log size u64, last time u64, epoch u64,
    /// store 16, length of the version u8, version; little-endian.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend(self.node);
        for number in [self.run, self.number, self.head.set.count] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.head.set.root.0);
        for number in [self.head.log_size, self.head.last_time, self.head.epoch] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.head.store);
        put_text(&mut bytes, &self.head.version);
        bytes
    }

    /// Total: any bytes may come.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let (node, run, number) = (reader.array()?, reader.u64()?, reader.u64()?);
        let set = SetHead { count: reader.u64()?, root: Root(reader.array()?) };
        let (log_size, last_time, epoch) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let head = Head {
            set,
            log_size,
            last_time,
            epoch,
            store: reader.array()?,
            version: reader.text(VERSION_LEN_MAX)?,
        };
        reader.0.is_empty().then_some(Self { node, run, number, head })
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        (self.run, self.number) > (other.run, other.number)
    }
}

/// Tells the library which news replaces which.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewsKey {
    node: NodeId,
    order: (u64, u64),
}

impl Invalidates for NewsKey {
    fn invalidates(&self, other: &Self) -> bool {
        self.node == other.node && self.order >= other.order
    }
}

/// The latest head of each node, and who has told something new.
#[derive(Debug)]
pub(super) struct Heads {
    keys: Keys,
    /// This node, whose heads come from itself.
    own: NodeId,
    /// The keys of members; heads of others are not taken.
    members: BTreeMap<NodeId, PublicKey>,
    latest: BTreeMap<NodeId, News>,
    changed: Vec<NodeId>,
}

impl Heads {
    fn new(keys: Keys, own: NodeId) -> Self {
        let (members, latest, changed) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { keys, own, members, latest, changed }
    }

    /// Heads of a node are those that this key signed. What another one signed is forgotten.
    pub(super) fn set_key(&mut self, node: NodeId, key: PublicKey) {
        if self.members.insert(node, key).is_some_and(|known| known != key) {
            self.latest.remove(&node);
        }
    }

    /// Takes the head of a member, unless its signature is wrong or a later one is known.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Option<NewsKey> {
        let (content, signature) = bytes.split_last_chunk::<SIGNATURE_LEN>()?;
        // What does not parse may be of a later version: it is not passed on, and does no harm.
        let news = News::decode(content)?;
        let key = self.members.get(&news.node).filter(|_| news.node != self.own)?;
        // The signature costs most, so that what is old is found out before.
        if !self.is_fresh(&news) || !verify(&self.keys, key, Signed::Head, &[content], signature) {
            return None;
        }
        self.take_in(news)
    }

    /// The generation of the node when it told what is known of it.
    pub(super) fn generation_of(&self, node: &NodeId) -> Option<u64> {
        self.latest.get(node).map(|news| news.run)
    }

    fn is_fresh(&self, news: &News) -> bool {
        self.latest.get(&news.node).is_none_or(|known| news.is_newer_than(known))
    }

    pub(super) fn of(&self, node: &NodeId) -> Option<&Head> {
        self.latest.get(node).map(|news| &news.head)
    }

    /// Nodes that have told something new since this was asked last.
    pub(super) fn take_changed(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        self.latest.remove(node);
        self.members.remove(node);
    }

    fn take_in(&mut self, news: News) -> Option<NewsKey> {
        let room = self.latest.contains_key(&news.node) || self.latest.len() < HEADS_MAX;
        if !self.is_fresh(&news) || !room {
            return None;
        }
        let key = NewsKey { node: news.node, order: (news.run, news.number) };
        self.changed.push(news.node);
        self.latest.insert(news.node, news);
        Some(key)
    }
}

/// The heads, shared with the library that carries them.
#[derive(Clone, Debug)]
pub(super) struct SharedHeads(Arc<Mutex<Heads>>);

impl SharedHeads {
    pub(super) fn new(keys: Keys, own: NodeId) -> Self {
        Self(Arc::new(Mutex::new(Heads::new(keys, own))))
    }

    pub(super) fn get(&self) -> MutexGuard<'_, Heads> {
        // Each change is one step, so that a panic elsewhere leaves them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BroadcastHandler<Member> for SharedHeads {
    type Key = NewsKey;
    type Error = Infallible;

    fn receive_item(
        &mut self,
        data: &[u8],
        sender: Option<&Member>,
    ) -> Result<Option<NewsKey>, Infallible> {
        let mut heads = self.get();
        if sender.is_some() {
            return Ok(heads.receive(data));
        }
        // It is this node's own.
        let content = data.split_last_chunk::<SIGNATURE_LEN>().map(|(content, _)| content);
        Ok(content.and_then(News::decode).and_then(|news| heads.take_in(news)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(number: u64) -> News {
        let set = SetHead { count: 5, root: Root([7; 32]) };
        let version = "0.1.0".to_owned();
        let head = Head { set, log_size: 6, last_time: 9, epoch: 2, store: [4; 16], version };
        News { node: [1; 16], run: 3, number, head }
    }

    #[test]
    fn news_survives_and_damage_does_not() {
        let bytes = news(1).encode();
        assert_eq!(News::decode(&bytes), Some(news(1)));
        for len in 0..bytes.len() {
            assert_eq!(News::decode(&bytes[..len]), None, "cut to {len}");
        }
        assert_eq!(News::decode(&[bytes, vec![0]].concat()), None);
    }

    #[test]
    fn only_newer_news_of_members_that_they_signed_is_passed_on() {
        let (keys, other_keys) = (Keys::new(None), Keys::new(Some(b"another cluster's")));
        let (key, other) = (NodeKey::from_seed(&[1; 32]), NodeKey::from_seed(&[2; 32]));
        let mut heads = Heads::new(keys.clone(), [9; 16]);
        let signed = |number| sign(&keys, &key, &news(number));
        assert!(heads.receive(&signed(2)).is_none(), "nobody knows this node");
        heads.set_key([1; 16], key.public());
        assert!(heads.receive(&sign(&keys, &other, &news(9))).is_none());
        assert!(heads.receive(&sign(&other_keys, &key, &news(9))).is_none());
        assert!(heads.receive(&signed(2)).is_some());
        assert!(heads.receive(&signed(2)).is_none());
        assert!(heads.receive(&signed(1)).is_none());
        let later = News { run: 4, ..news(0) };
        assert!(heads.receive(&sign(&keys, &key, &later)).is_some());
        assert_eq!(heads.take_changed(), [[1; 16]; 2]);
        assert!(heads.take_changed().is_empty());
        let mut bytes = sign(&keys, &key, &News { run: 5, ..news(7) });
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(heads.receive(&bytes).is_none(), "byte {at}");
            bytes[at] ^= 1;
        }
        assert!(heads.receive(&bytes).is_some());
        // Another key counts from the beginning.
        heads.set_key([1; 16], other.public());
        assert!(heads.of(&[1; 16]).is_none());
        assert!(heads.receive(&sign(&keys, &other, &news(1))).is_some());
        // Nobody tells this node what it holds.
        heads.set_key([9; 16], key.public());
        let own = News { node: [9; 16], ..news(1) };
        assert!(heads.receive(&sign(&keys, &key, &own)).is_none());
    }
}
