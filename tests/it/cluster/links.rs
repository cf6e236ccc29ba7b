//! What lies between nodes: every ordered pair is a link of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::reference::random::Random;

/// The state of all links.
#[derive(Default)]
pub(crate) struct Links {
    /// Which side of a partition each node is on; those that are not named are on side 0.
    pub(crate) sides: BTreeMap<usize, u64>,
    /// Links that nothing gets through: from, to.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Of a hundred messages, so many get lost, come twice, or come late.
    pub(crate) loss: u64,
    pub(crate) twice: u64,
    pub(crate) late: u64,
    /// Bytes a second that a node's links carry, both ways, where that is little.
    pub(crate) rates: BTreeMap<usize, u64>,
    /// Bytes a second that all links to a node carry together, where that is little.
    pub(crate) line: Option<u64>,
    /// When a slow link is free again; from a node to itself it is the line of all links there.
    pub(crate) busy: BTreeMap<(usize, usize), Duration>,
    /// Milliseconds from any node to any other, if nothing is wrong: from, and how many more.
    pub(crate) way: (u64, u64),
}

/// The most that a slow link keeps waiting.
const BUSY_MAX: Duration = Duration::from_secs(10);

impl Links {
    /// Everything is as it should be.
    pub(crate) fn mend(&mut self) {
        *self = Self { way: self.way, line: self.line, ..Self::default() };
    }

    pub(crate) fn is_open(&self, from: usize, to: usize) -> bool {
        let side = |node| self.sides.get(&node).copied().unwrap_or(0);
        side(from) == side(to) && !self.cut.contains(&(from, to))
    }

    /// When a message of so many bytes that is sent now arrives: never, once, or twice.
    pub(crate) fn send(
        &mut self,
        random: &mut Random,
        (from, to): (usize, usize),
        len: u64,
        now: Duration,
    ) -> Vec<Duration> {
        if !self.is_open(from, to) || random.below(100) < self.loss {
            return Vec::new();
        }
        let rate = [from, to].iter().filter_map(|node| self.rates.get(node)).min();
        let mut leaves = now;
        let link = rate.map(|rate| ((from, to), *rate));
        let shared = self.line.map(|rate| ((to, to), rate));
        for (way, rate) in link.into_iter().chain(shared) {
            let busy = self.busy.entry(way).or_default();
            if *busy > now + BUSY_MAX {
                return Vec::new();
            }
            *busy = (*busy).max(leaves) + Duration::from_micros(len * 1_000_000 / rate);
            leaves = *busy;
        }
        let times = 1 + usize::from(random.below(100) < self.twice);
        let mut context = || {
            let more = if random.below(100) < self.late { 3_000 } else { self.way.1 };
            let micros = self.way.0 * 1_000 + random.below(more * 1_000 + 1);
            leaves + Duration::from_micros(micros)
        };
        (0..times).map(|_| context()).collect()
    }
}
