//! The life of a cluster from a seed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use stemedb::sync::Limits;

use super::{
    malice::Malice,
    network::{Counts, Event, Network, SECOND},
    node::{Shape, address},
    sabotage::Sabotage,
    trouble::SEATS,
    world,
};
use crate::reference::random::Random;

/// Counts lives where more than the seed is to decide.
static LIVES: AtomicU64 = AtomicU64::new(1);

/// What came of it.
#[derive(Debug)]
pub(crate) struct Life {
    /// How long it took from the end of all troubles until all held the same.
    pub(crate) converged: Duration,
    /// How long it might have taken.
    pub(crate) bound: Duration,
    /// How long it took then until all knew that.
    pub(crate) known: Duration,
    /// How long a write took then to get around, with gossip.
    pub(crate) spread: Duration,
    pub(crate) trace: u64,
    pub(crate) counts: Counts,
    #[expect(dead_code, reason = "shown")]
    pub(crate) written: usize,
}

/// Members know each other, and what each holds, so soon after all hold the same: those that were
/// called down are asked by everybody whether they are, three of them every 20 s, and there may be
/// as many again that are gone for good; a member asks another for all members every 60 s.
const KNOWN_BOUND: Duration = Duration::from_secs(300);

/// A write is told and fetched within seconds in clusters that know each other.
const SPREAD_BOUND: Duration = Duration::from_secs(8);

/// Bytes a second that all links to a machine carry together, where that is little: enough for what
/// a cluster tells it, and less than a flood.
const NARROW: u64 = 10_000;

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.index(choices.len())]
}

/// Small enough for sessions of many messages, and of some realism.
fn limits(random: &mut Random) -> Limits {
    Limits::default()
        .message_len_max(1 << 16)
        .body_len_max(4096)
        .part_len_max(pick(random, &[300, 4096, 4096]))
        .answer_len_aim(pick(random, &[1_000, 100_000, 100_000]))
        .symbols_first(pick(random, &[8, 56, 56]))
        .symbols_max(pick(random, &[64, 2_000, 20_000]))
        .ids_per_message_max(pick(random, &[20, 1_000, 1_000]))
        .nodes_per_message_max(pick(random, &[20, 1_000, 1_000]))
        .entries_per_message_max(pick(random, &[20, 1_000, 1_000]))
        .pending_bytes_max(pick(random, &[1_000, 1 << 20]))
        .answer_time_max(3 * SECOND)
        .tries_max(3)
        .idle_time_max(20 * SECOND)
        .session_time_max(120 * SECOND)
        .sessions_max(8)
        .sessions_per_peer_max(2)
}

fn shape(random: &mut Random, sabotage: Sabotage) -> Shape {
    Shape {
        gossip: !random.one_in(4),
        secret: random.one_in(2).then(|| random.next().to_le_bytes().repeat(3)),
        interval: pick(random, &[5, 10, 30]) * SECOND,
        sessions_max: pick(random, &[1, 2, 2, 4]),
        segment_len: pick(random, &[4 << 10, 32 << 10]),
        limits: limits(random),
        sabotage,
    }
}

/// Every node joins by two of the first, or names those after it and one by chance.
fn introduce(network: &mut Network) {
    let count = network.nodes.len();
    for place in 0..count {
        if network.shape.gossip {
            network.nodes[place].join = (0..SEATS.min(count)).map(address).collect();
        } else {
            let chance = network.random.index(count);
            let places = (1..=3).map(|next| (place + next) % count).chain([chance]);
            network.nodes[place].peers = places.map(address).collect();
        }
    }
}

/// A whole life, with all checks.
pub(crate) fn live(seed: u64, nodes: usize, sabotage: Sabotage) -> Life {
    live_with(seed, nodes, sabotage, None)
}

/// A hostile member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hostile {
    pub(crate) malice: Malice,
    /// Whether it can do what no member can, and goes on for ever: the checks must notice. It has
    /// the keys of all nodes, and answers at addresses that it made up.
    pub(crate) is_control: bool,
}

/// A whole life among which there is a hostile member, if one is given.
pub(crate) fn live_with(
    seed: u64,
    nodes: usize,
    sabotage: Sabotage,
    hostile: Option<Hostile>,
) -> Life {
    world::begin(seed);
    let unseeded = match sabotage {
        Sabotage::Unseeded => LIVES.fetch_add(1, Ordering::Relaxed),
        _ => 0,
    };
    let mut random = Random::new(seed ^ 0xc105_7e12 ^ unseeded);
    let mut shape = shape(&mut random, sabotage);
    shape.gossip |= hostile.is_some();
    let mut network = Network::new(random, shape, nodes);
    if sabotage == Sabotage::Narrow {
        network.links.line = Some(NARROW);
    }
    introduce(&mut network);
    let late = nodes / 8;
    let troubles = SECOND * u32::try_from(30 + network.random.below(31)).unwrap();
    for place in 0..nodes {
        // Clocks are off by hours to begin with, some of them.
        if network.random.one_in(3) {
            let hours = i128::from(network.random.below(6 * 3600)) - 3 * 3600;
            network.nodes[place].skew = hours << 32;
        }
        let after = if place < nodes - late { SECOND } else { troubles };
        let after = network.millis(u64::try_from(after.as_millis()).unwrap());
        network.at(network.now + after, Event::Start { place });
    }
    if let Some(hostile) = hostile {
        let for_ever = troubles * 100;
        let time = if hostile.is_control { for_ever } else { troubles };
        network.let_in(hostile, network.now + 5 * SECOND + time);
    }
    network.run_for(5 * SECOND);
    network.live_through(troubles);
    let bound = network.bound(troubles);
    let living = network.acknowledged();
    let converged = network.converge(bound);
    network.check_union(&living);
    let known = if network.shape.gossip { network.know_each_other(KNOWN_BOUND) } else { SECOND };
    let spread = if network.shape.gossip { network.spread(SPREAD_BOUND) } else { SECOND };
    network.check_trust();
    network.wind_up();
    let written = network.written.len();
    Life { converged, bound, known, spread, trace: network.trace, counts: network.counts, written }
}

/// Bytes a second that the busiest node of an idle cluster sends.
pub(crate) fn idle(nodes: usize, sabotage: Sabotage) -> u64 {
    world::begin(1);
    let mut random = Random::new(1);
    let shape = Shape {
        gossip: true,
        secret: None,
        interval: 30 * SECOND,
        sessions_max: 2,
        segment_len: 32 << 10,
        limits: limits(&mut random),
        sabotage,
    };
    let mut network = Network::new(random, shape, nodes);
    introduce(&mut network);
    (0..nodes).for_each(|place| network.start(place));
    network.run_for(10 * SECOND);
    network.write(0, 100);
    network.go_on(0);
    network.run_for(50 * SECOND);
    assert!(network.agree(), "not all hold the same after a minute");
    network.nodes.iter_mut().for_each(|node| node.sent = 0);
    let seconds = 100;
    network.run_for(SECOND * seconds);
    let most = network.nodes.iter().map(|node| node.sent).max().unwrap();
    most / u64::from(seconds)
}

/// The most that an idle node may send, in bytes a second, whatever the size of its cluster.
const QUIET: u64 = 1_000;

pub(crate) fn check_quiet(rates: [u64; 3]) {
    let [few, _, many] = rates;
    assert!(rates.iter().all(|rate| *rate <= QUIET), "more than {QUIET}: {rates:?}");
    assert!(many <= few * 4, "it grows with the nodes: {rates:?}");
}
