//! What must hold.

use std::{collections::BTreeSet, time::Duration};

use stemedb::{AssertionId, Hash, Root, sync::cluster::Standing};

use super::{
    network::{Network, SECOND},
    sessions::session_time_max,
};
use crate::reference::set_tree::{HASHES, SetTree};

/// Times along a log strictly increase.
pub(crate) fn check_times(address: &str, times: impl Iterator<Item = u64>) {
    let mut last = 0;
    for time in times {
        assert!(time > last, "times of {address} do not increase: {last}, then {time}");
        last = time;
    }
}

impl Network {
    /// A store has what its disk acknowledged, only what clients wrote, and times that increase.
    pub(crate) fn check_store(&self, place: usize) {
        let node = &self.nodes[place];
        let Some(process) = &node.process else { return };
        let (store, address) = (&process.store, &node.address);
        let mut held = BTreeSet::new();
        let entries: Vec<_> = store.iter().map(Result::unwrap).collect();
        check_times(address, entries.iter().map(|entry| entry.time.as_ntp64()));
        held.extend(entries.iter().map(|entry| entry.id.0));
        for id in &held {
            let body = store.get(&AssertionId(*id)).unwrap();
            let written = self.written.get(id);
            assert!(written.is_some(), "{address} holds a body that nobody wrote");
            assert!(body.as_ref() == written, "{address} gives another body than was written");
        }
        let lost = node.acknowledged.difference(&held).count();
        assert!(lost == 0, "{address} has lost {lost} bodies that it acknowledged");
    }

    /// Whether all nodes that run hold the same, as they say.
    pub(crate) fn agree(&self) -> bool {
        let mut sets = self.nodes.iter().filter_map(|node| node.process.as_ref());
        let first = sets.next().map(|process| process.cluster.head().set);
        sets.all(|process| Some(process.cluster.head().set) == first)
    }

    /// Lets time pass until all hold the same; how long that took.
    pub(crate) fn converge(&mut self, bound: Duration) -> Duration {
        let begin = self.now;
        while !self.agree() {
            self.run_for(SECOND / 4);
            self.check_ages();
            let took = self.now.checked_sub(begin).unwrap();
            assert!(took <= bound, "not all hold the same after {bound:?}: {}", self.sets());
        }
        self.now.checked_sub(begin).unwrap()
    }

    /// No session runs for longer than one may.
    fn check_ages(&self) {
        let longest = session_time_max(self);
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            for running in process.sessions.values() {
                let age = self.now.checked_sub(running.begun).unwrap();
                assert!(age <= longest, "sessions do not end: one goes on for {age:?}");
            }
        }
    }

    fn sets(&self) -> String {
        let nodes = self.nodes.iter().filter_map(|node| Some((node, node.process.as_ref()?)));
        let sets = nodes.map(|(node, process)| {
            let set = process.cluster.head().set;
            format!("{} {} {:02x?}", node.address, set.count, &set.root.0[..3])
        });
        sets.collect::<Vec<_>>().join(", ")
    }

    /// All nodes that run hold these ids at least, and have the root that their set has by
    /// definition.
    pub(crate) fn check_union(&self, at_least: &BTreeSet<Hash>) {
        let mut union: Option<(BTreeSet<Hash>, Root)> = None;
        for place in self.running() {
            self.check_store(place);
            let store = &self.nodes[place].process.as_ref().unwrap().store;
            let ids: BTreeSet<Hash> = store.iter().map(|entry| entry.unwrap().id.0).collect();
            let root = match &union {
                Some((first, root)) if *first == ids => *root,
                _ => SetTree::new(ids.iter().copied(), HASHES).root(),
            };
            assert!(store.head().unwrap().set_root == root, "the root is not that of the set");
            let (first, _) = union.get_or_insert_with(|| (ids.clone(), root));
            assert!(*first == ids, "roots agree, and the sets do not");
        }
        let (union, _) = union.unwrap();
        let missing = at_least.difference(&union).count();
        assert!(missing == 0, "{missing} bodies of living disks did not get around");
    }

    /// With gossip, what is written anywhere gets around at once.
    pub(crate) fn spread(&mut self, bound: Duration) -> Duration {
        let mut longest = Duration::ZERO;
        for place in self.running().into_iter().step_by(3) {
            self.write(place, 1);
            self.go_on(place);
            let begin = self.now;
            while !self.agree() {
                self.run_for(SECOND / 4);
                let took = self.now.checked_sub(begin).unwrap();
                assert!(
                    took <= bound,
                    "{place}'s is not all over after {bound:?}: {}",
                    self.sets()
                );
            }
            longest = longest.max(self.now.checked_sub(begin).unwrap());
            // What comes together with the next would hide that the next does not.
            self.run_for(SECOND * 3);
        }
        longest
    }

    /// All members that run know each other, and what each holds. Lets time pass until then.
    pub(crate) fn know_each_other(&mut self, bound: Duration) -> Duration {
        let begin = self.now;
        while let Some(stranger) = self.stranger() {
            let took = self.now.checked_sub(begin).unwrap();
            assert!(took <= bound, "after {bound:?}, {stranger}");
            self.run_for(SECOND);
            self.check_ages();
        }
        self.now.checked_sub(begin).unwrap()
    }

    /// Somebody who does not know somebody, or what it holds.
    fn stranger(&self) -> Option<String> {
        let running = self.running();
        for place in &running {
            let node = &self.nodes[*place];
            let process = node.process.as_ref().unwrap();
            for other in running.iter().filter(|other| *other != place) {
                let of = &self.nodes[*other];
                let set = of.process.as_ref().unwrap().cluster.head().set;
                let known = process.cluster.peers().find(|(address, _)| *address == of.address);
                let known = known.map(|(_, peer)| (peer.standing, peer.set()));
                if known.is_none_or(|known| known != (Standing::Alive, Some(set))) {
                    return Some(format!("{} takes {} for {known:?}", node.address, of.address));
                }
            }
        }
        None
    }

    /// Nobody is set aside.
    pub(crate) fn check_trust(&self) {
        for node in &self.nodes {
            let Some(process) = &node.process else { continue };
            for (address, peer) in process.cluster.peers() {
                assert!(peer.quarantined.is_none(), "{} set {address} aside", node.address);
            }
        }
    }

    /// All sessions end, and none is left open where it was answered.
    pub(crate) fn wind_up(&mut self) {
        for place in self.running() {
            self.nodes[place].process.as_mut().unwrap().cluster.pause(true);
        }
        let longest = session_time_max(self);
        let end = self.now + longest;
        let open = |network: &Self| -> usize {
            let processes = network.nodes.iter().filter_map(|node| node.process.as_ref());
            processes.map(|process| process.sessions.len()).sum()
        };
        while open(self) > 0 {
            assert!(self.now <= end, "sessions do not end in {longest:?}: {}", open(self));
            self.run_for(SECOND);
        }
        let idle = self.now + self.shape.limits.idle_time_max + SECOND;
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            process.responder.expire(idle);
            assert!(process.responder.sessions() == 0, "a session is left open");
        }
    }
}
