//! What members tell each other of what they hold.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foca::{BroadcastHandler, Invalidates};

use super::member::Member;
use super::wire::{Reader, put_text};
use crate::message::{NodeId, SetHead};

/// The longest name of a version, in bytes.
pub const VERSION_LEN_MAX: usize = 32;

/// Heads of so many nodes are kept; beyond that those of members that are gone give way.
pub const HEADS_MAX: usize = 2 * super::MEMBERS_MAX;

/// What a node holds, as it says.
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

impl News {
    /// node 16, run u64, number u64, count u64, root 32, log size u64, last time u64, epoch u64,
    /// store 16, length of the version u8, version; little-endian.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(160);
        bytes.extend(self.node);
        for number in [self.run, self.number, self.head.set.count] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(self.head.set.root);
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
        let set = SetHead { count: reader.u64()?, root: reader.array()? };
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
#[derive(Debug, Default)]
pub(super) struct Heads {
    latest: HashMap<NodeId, News>,
    changed: Vec<NodeId>,
}

impl Heads {
    pub(super) fn of(&self, node: &NodeId) -> Option<&Head> {
        self.latest.get(node).map(|news| &news.head)
    }

    /// Nodes that have told something new since this was asked last.
    pub(super) fn take_changed(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        self.latest.remove(node);
    }

    fn take_in(&mut self, news: News) -> Option<NewsKey> {
        let known = self.latest.get(&news.node);
        let fresh = known.is_none_or(|known| news.is_newer_than(known));
        let room = known.is_some() || self.latest.len() < HEADS_MAX;
        if !fresh || !room {
            return None;
        }
        let key = NewsKey { node: news.node, order: (news.run, news.number) };
        self.changed.push(news.node);
        self.latest.insert(news.node, news);
        Some(key)
    }
}

/// The heads, shared with the library that carries them.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedHeads(Arc<Mutex<Heads>>);

impl SharedHeads {
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
        _sender: Option<&Member>,
    ) -> Result<Option<NewsKey>, Infallible> {
        // What does not parse may be of a later version: it is not passed on, and does no harm.
        Ok(News::decode(data).and_then(|news| self.get().take_in(news)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(number: u64) -> News {
        let set = SetHead { count: 5, root: [7; 32] };
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
    fn only_newer_news_is_passed_on() {
        let mut heads = Heads::default();
        assert!(heads.take_in(news(2)).is_some());
        assert!(heads.take_in(news(2)).is_none());
        assert!(heads.take_in(news(1)).is_none());
        assert!(heads.take_in(News { run: 4, ..news(0) }).is_some());
        assert_eq!(heads.take_changed(), [[1; 16]; 2]);
        assert!(heads.take_changed().is_empty());
    }
}
