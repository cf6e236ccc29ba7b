//! Clusters of nodes over a network of their own, with sets instead of stores: who finds whom, who
//! is missed when it is gone, and how soon all hold the same.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::similar_names,
    clippy::unchecked_time_subtraction,
    reason = "a test that cannot go on has failed"
)]

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    time::Duration,
};

use stemedb_merkle::Root;
use stemedb_sync::{
    Cluster, Keys,
    cluster::{Config, Head, NodeKey, Note, Outcome, Output, Policy, Standing},
    message::SetHead,
};

const SECOND: Duration = Duration::from_secs(1);
/// From one node to another, and the time of a session.
const WAY: Duration = Duration::from_millis(20);

type Set = BTreeSet<u64>;

enum Event {
    Frame { to: String, frame: Vec<u8> },
    Met { from: String, with: String },
    Tick { node: String, run: u64 },
}

struct Node {
    cluster: Cluster,
    set: Set,
    run: u64,
    notes: Vec<Note>,
    sent: u64,
    sessions: u64,
    /// When the next tick is to come.
    tick: Option<Duration>,
}

struct Network {
    nodes: BTreeMap<String, Node>,
    events: BinaryHeap<Reverse<(Duration, u64)>>,
    waiting: BTreeMap<u64, Event>,
    next: u64,
    now: Duration,
    /// Ways that nothing gets through: from, to.
    cut: BTreeSet<(String, String)>,
    gossip: bool,
    interval: Duration,
    /// By how many seconds the clocks of those that begin from now on are behind.
    behind: u64,
    /// Everything that nodes have sent: where from, and what.
    overheard: Vec<(String, Vec<u8>)>,
}

fn head(set: &Set) -> Head {
    let mut hasher = blake3::Hasher::new();
    for id in set {
        hasher.update(&id.to_le_bytes());
    }
    let set = SetHead { count: set.len() as u64, root: Root(hasher.finalize().into()) };
    let version = "test".to_owned();
    Head { set, log_size: set.count, last_time: 0, epoch: 1, store: [0; 16], version }
}

fn address(number: usize) -> String {
    format!("node{number}:1")
}

impl Network {
    fn new(gossip: bool) -> Self {
        Self {
            nodes: BTreeMap::new(),
            events: BinaryHeap::new(),
            waiting: BTreeMap::new(),
            next: 0,
            now: SECOND,
            cut: BTreeSet::new(),
            gossip,
            interval: 30 * SECOND,
            overheard: Vec::new(),
            behind: 0,
        }
    }

    /// So many nodes that all join the first.
    fn of(count: usize) -> Self {
        let mut network = Self::new(true);
        (0..count).for_each(|number| network.start(number, &[address(0)], &[]));
        network
    }

    fn start(&mut self, number: usize, join: &[String], peers: &[String]) {
        self.start_as(number, number, None, join, peers);
    }

    /// Starts a node with the id of a number at the address of another.
    fn start_as(
        &mut self,
        number: usize,
        place: usize,
        secret: Option<&[u8]>,
        join: &[String],
        peers: &[String],
    ) {
        self.next += 1;
        let run = self.next;
        let mut node = [0; 16];
        node[..8].copy_from_slice(&(1 + number as u64).to_le_bytes());
        let set = self.nodes.remove(&address(place)).map(|node| node.set).unwrap_or_default();
        let config = Config {
            node,
            key: NodeKey::from_seed(&[number as u8; 32]),
            remembered: Vec::new(),
            run: [run as u8; 16],
            began: (1_000_000 + self.now.as_secs() - self.behind) << 32 | run,
            address: address(place),
            version: "test".to_owned(),
            keys: Keys::new(secret),
            gossip: self.gossip,
            join: join.to_vec(),
            peers: peers.to_vec(),
            policy: Policy { interval: self.interval, sessions_max: 2 },
            seed: 77 + run,
        };
        let cluster = Cluster::new(config, head(&set), self.now);
        let (notes, sent, sessions, tick) = (Vec::new(), 0, 0, None);
        self.nodes.insert(address(place), Node { cluster, set, run, notes, sent, sessions, tick });
        self.go_on(&address(place));
    }

    fn at(&mut self, time: Duration, event: Event) {
        self.next += 1;
        self.waiting.insert(self.next, event);
        self.events.push(Reverse((time, self.next)));
    }

    /// Lets a node do what is due, and takes what comes out of it.
    fn go_on(&mut self, address: &str) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(address) else { return };
        node.cluster.tick(now);
        let outputs: Vec<_> = std::iter::from_fn(|| node.cluster.output()).collect();
        let due = node.cluster.due().map(|due| due.max(now));
        let run = node.run;
        let tick = due.filter(|due| node.tick.is_none_or(|tick| tick <= now || tick > *due));
        node.tick = tick.or(node.tick);
        for output in outputs {
            match output {
                Output::Send { to, frame, .. } => {
                    self.nodes.get_mut(address).unwrap().sent += frame.len() as u64;
                    self.overheard.push((address.to_owned(), frame.clone()));
                    if !self.cut.contains(&(address.to_owned(), to.clone())) {
                        self.at(now + WAY, Event::Frame { to, frame });
                    }
                }
                Output::Sync { peer } => {
                    self.nodes.get_mut(address).unwrap().sessions += 1;
                    let met = Event::Met { from: address.to_owned(), with: peer };
                    self.at(now + 2 * WAY, met);
                }
                Output::Note(note) => self.nodes.get_mut(address).unwrap().notes.push(note),
            }
        }
        if let Some(due) = tick {
            self.at(due, Event::Tick { node: address.to_owned(), run });
        }
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, number))) = self.events.peek().copied() {
            if at > end {
                break;
            }
            self.events.pop();
            self.now = at;
            match self.waiting.remove(&number).unwrap() {
                Event::Frame { to, frame } => {
                    if let Some(node) = self.nodes.get_mut(&to) {
                        let _ = node.cluster.receive(&frame, at);
                        self.go_on(&to);
                    }
                }
                Event::Tick { node, run } => {
                    if self.nodes.get(&node).is_some_and(|node| node.run == run) {
                        self.go_on(&node);
                    }
                }
                Event::Met { from, with } => self.meet(&from, &with),
            }
        }
        self.now = end;
    }

    fn meet(&mut self, from: &str, with: &str) {
        let open = |one: &str, other: &str| !self.cut.contains(&(one.to_owned(), other.to_owned()));
        let reached = self.nodes.contains_key(with) && open(from, with) && open(with, from);
        let Some(node) = self.nodes.get(from) else { return };
        let outcome = if reached {
            let all: Set = node.set.union(&self.nodes[with].set).copied().collect();
            for address in [from, with] {
                let node = self.nodes.get_mut(address).unwrap();
                node.set.clone_from(&all);
                node.cluster.changed(head(&all), self.now);
            }
            Outcome::Repaired(head(&all).set)
        } else {
            Outcome::Failed
        };
        self.nodes.get_mut(from).unwrap().cluster.ended(with, outcome, self.now);
        self.go_on(from);
        self.go_on(with);
    }

    fn write(&mut self, number: usize, id: u64) {
        let node = self.nodes.get_mut(&address(number)).unwrap();
        node.set.insert(id);
        let head = head(&node.set);
        node.cluster.changed(head, self.now);
        self.go_on(&address(number));
    }

    fn kill(&mut self, number: usize) -> Set {
        self.nodes.remove(&address(number)).unwrap().set
    }

    fn cut(&mut self, one: &[usize], other: &[usize]) {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.cut.insert((address(a), address(b)));
            self.cut.insert((address(b), address(a)));
        }
    }

    fn all_equal(&self) -> bool {
        let mut sets = self.nodes.values().map(|node| &node.set);
        let first = sets.next().unwrap();
        sets.all(|set| set == first)
    }

    fn standing(&self, of: usize, at: usize) -> Option<Standing> {
        let node = &self.nodes[&address(at)];
        let of = address(of);
        node.cluster.peers().find(|(address, _)| **address == *of).map(|(_, peer)| peer.standing)
    }

    /// Runs until all hold the same; how long that took.
    fn converge(&mut self, at_most: Duration) -> Duration {
        let begin = self.now;
        while !self.all_equal() {
            self.run_for(Duration::from_millis(50));
            assert!(self.now - begin <= at_most, "they do not agree after {at_most:?}");
        }
        self.now - begin
    }
}

#[test]
fn all_find_each_other_and_a_write_gets_around() {
    for count in [2, 3, 5, 20, 100] {
        let mut network = Network::of(count);
        network.run_for(15 * SECOND);
        for (one, other) in [(0, 1), (1, 0), (count - 1, 0), (0, count - 1), (count - 1, 1)] {
            let found = network.standing(other, one);
            assert!(one == other || found == Some(Standing::Alive), "{other} at {one} of {count}");
        }
        network.write(count - 1, 1);
        let took = network.converge(6 * SECOND);
        let sessions: u64 = network.nodes.values().map(|node| node.sessions).sum();
        println!("{count} nodes: {took:?}, {sessions} sessions");
    }
}

#[test]
fn an_idle_cluster_is_quiet_however_large() {
    for count in [5, 20, 100] {
        let mut network = Network::of(count);
        network.run_for(60 * SECOND);
        network.nodes.values_mut().for_each(|node| (node.sent, node.sessions) = (0, 0));
        network.run_for(100 * SECOND);
        let most = network.nodes.values().map(|node| node.sent / 100).max().unwrap();
        let sessions = network.nodes.values().map(|node| node.sessions).max().unwrap();
        println!("{count} nodes: {most} bytes a second, {sessions} sessions in 100 s");
        assert!(most < 550, "{count} nodes: {most} bytes a second");
        assert!((8..=24).contains(&sessions), "{sessions} sessions in 100 s");
    }
}

#[test]
fn who_is_gone_is_missed_and_comes_back() {
    let mut network = Network::of(6);
    network.run_for(15 * SECOND);
    let set = network.kill(3);
    network.run_for(20 * SECOND);
    assert_eq!(network.standing(3, 0), Some(Standing::Down));
    network.write(0, 9);
    network.converge(5 * SECOND);
    network.start(3, &[address(1)], &[]);
    network.nodes.get_mut(&address(3)).unwrap().set = set;
    network.converge(10 * SECOND);
    network.run_for(5 * SECOND);
    assert_eq!(network.standing(3, 0), Some(Standing::Alive));
    // With an empty disk it is another node, at the same address.
    network.kill(3);
    network.start_as(33, 3, None, &[address(1)], &[]);
    network.run_for(25 * SECOND);
    assert_eq!(network.standing(3, 0), Some(Standing::Alive));
    // It does not take what was there before it for somebody to meet.
    assert_eq!(network.standing(3, 3), None);
    assert!(network.all_equal());
}

#[test]
fn one_whose_clock_went_back_is_known_again() {
    for number in [0, 3] {
        let mut network = Network::of(8);
        network.run_for(15 * SECOND);
        let set = network.kill(number);
        network.run_for(30 * SECOND);
        assert_eq!(network.standing(number, 7), Some(Standing::Down));
        network.behind = 10_000;
        // It knows nobody: some find it, and it has never heard of the others.
        network.start(number, &[address(1)], &[]);
        network.nodes.get_mut(&address(number)).unwrap().set = set;
        network.run_for(120 * SECOND);
        for at in (0..8).filter(|at| *at != number) {
            assert_eq!(network.standing(number, at), Some(Standing::Alive), "at {at}");
        }
        // What it tells is news, so that the others come before it comes to them.
        network.write(number, 1);
        network.converge(1500 * SECOND / 1000);
    }
}

#[test]
fn a_partition_heals() {
    let mut network = Network::of(8);
    network.run_for(15 * SECOND);
    network.cut(&[0, 1, 2], &[3, 4, 5, 6, 7]);
    network.run_for(120 * SECOND);
    assert_eq!(network.standing(0, 7), Some(Standing::Down));
    network.write(0, 1);
    network.write(7, 2);
    network.run_for(60 * SECOND);
    assert!(!network.all_equal());
    network.cut.clear();
    let took = network.converge(60 * SECOND);
    println!("healed in {took:?}");
    network.run_for(60 * SECOND);
    for (one, other) in [(0, 7), (7, 0), (3, 2), (2, 3)] {
        assert_eq!(network.standing(one, other), Some(Standing::Alive));
    }
}

#[test]
fn without_gossip_named_peers_converge() {
    let mut network = Network::new(false);
    let all: Vec<_> = (0..5).map(address).collect();
    (0..5).for_each(|number| network.start(number, &[], &all));
    network.run_for(40 * SECOND);
    network.write(2, 1);
    network.write(4, 2);
    let took = network.converge(60 * SECOND);
    println!("two intervals at most: {took:?}");
}

#[test]
fn the_later_of_two_with_one_id_is_refused_and_both_learn_of_it() {
    let mut network = Network::of(4);
    network.run_for(15 * SECOND);
    network.start_as(2, 9, None, &[address(0)], &[]);
    network.run_for(10 * SECOND);
    let duplicates = |network: &Network, place| {
        let mut notes = network.nodes[&address(place)].notes.iter();
        notes.find_map(|note| match note {
            Note::DuplicateNodeId { refused, .. } => Some(*refused),
            _ => None,
        })
    };
    assert_eq!(duplicates(&network, 9), Some(true));
    assert_eq!(duplicates(&network, 2), Some(false));
    // It goes, and the first is a member as before.
    network.kill(9);
    network.run_for(30 * SECOND);
    assert_eq!(network.standing(2, 0), Some(Standing::Alive));
}

#[test]
fn a_node_that_moves_is_no_twin() {
    let mut network = Network::of(4);
    network.run_for(15 * SECOND);
    network.kill(2);
    network.start_as(2, 9, None, &[address(0)], &[]);
    network.run_for(20 * SECOND);
    let notes = &network.nodes[&address(9)].notes;
    assert!(!notes.iter().any(|note| matches!(note, Note::DuplicateNodeId { .. })), "{notes:?}");
    assert_eq!(network.standing(9, 0), Some(Standing::Alive));
}

#[test]
fn whoever_lacks_the_secret_stays_outside() {
    let mut network = Network::of(3);
    network.run_for(10 * SECOND);
    network.start_as(5, 5, Some(b"another cluster's"), &[address(0)], &[]);
    network.run_for(20 * SECOND);
    assert_eq!(network.standing(5, 0), None);
    assert_eq!(network.standing(0, 5), None);
}

#[test]
fn one_that_says_good_bye_has_left_at_once() {
    let mut network = Network::of(5);
    network.run_for(15 * SECOND);
    let now = network.now;
    network.nodes.get_mut(&address(4)).unwrap().cluster.leave(now);
    network.go_on(&address(4));
    network.kill(4);
    network.run_for(2 * SECOND);
    for at in 0..4 {
        assert_eq!(network.standing(4, at), Some(Standing::Left), "at {at}");
    }
}

#[test]
fn what_a_node_said_in_an_earlier_run_does_not_end_a_later_one() {
    let mut network = Network::of(4);
    network.run_for(15 * SECOND);
    network.kill(2);
    network.run_for(SECOND);
    network.start(2, &[address(0)], &[]);
    network.run_for(SECOND);
    // Somebody has recorded it all, and says it again.
    let overheard = network.overheard.clone();
    let kinds = |kind: u8| overheard.iter().filter(move |(_, frame)| frame[1] == kind).count();
    assert!(kinds(0) > 0 && kinds(1) > 0 && kinds(2) > 0);
    for (_, frame) in overheard {
        let now = network.now;
        let node = network.nodes.get_mut(&address(2)).unwrap();
        let _ = node.cluster.receive(&frame, now);
        network.go_on(&address(2));
    }
    network.run_for(30 * SECOND);
    let notes = &network.nodes[&address(2)].notes;
    assert!(!notes.iter().any(|note| matches!(note, Note::DuplicateNodeId { .. })), "{notes:?}");
    assert_eq!(network.standing(2, 0), Some(Standing::Alive));
}
