//! What goes wrong, one thing after the other, and how it is put right in the end.

use std::time::Duration;

use stemedb_simdisk::Survival;
use stemedb_wal::disk::Disk as _;

use super::{
    network::{Event, Network, SECOND},
    node::Fuse,
};

/// Something that goes wrong, or ends.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    /// Whatever chance decides, and then the next.
    Next,
    /// A machine is switched off.
    Off { place: usize },
    /// A full disk gets room again.
    Room { place: usize },
    /// A node syncs again.
    Resume { place: usize },
}

/// Members with these numbers never leave for ever: the others join by them.
pub(crate) const SEATS: usize = 3;

impl Network {
    pub(crate) fn suffer(&mut self, trouble: Trouble) {
        match trouble {
            _ if self.now >= self.until => {}
            Trouble::Next => {
                self.any_trouble();
                let after = self.millis(2_000);
                self.at(self.now + after, Event::Trouble(Trouble::Next));
            }
            Trouble::Off { place } => self.switch_off(place),
            Trouble::Room { place } => self.make_room(place),
            Trouble::Resume { place } => {
                if let Some(process) = &mut self.nodes[place].process {
                    process.cluster.pause(false);
                    self.go_on(place);
                }
            }
        }
    }

    fn any(&mut self) -> usize {
        self.random.index(self.nodes.len())
    }

    fn start_within(&mut self, place: usize, millis: u64) {
        let after = self.millis(millis);
        self.at(self.now + after, Event::Start { place });
    }

    fn any_trouble(&mut self) {
        let place = self.any();
        let count = self.nodes.len();
        let kind = self.random.below(20);
        self.note(9, place, kind);
        match kind {
            0 | 1 => self.part(),
            2 => {
                // One way, between two or between one and all.
                for other in 0..count {
                    if other != place && self.random.one_in(if kind == 2 { 3 } else { 1 }) {
                        let way = if self.chance(50) { (place, other) } else { (other, place) };
                        self.links.cut.insert(way);
                    }
                }
            }
            3 => self.links.cut.extend((0..count).map(|other| (place, other))),
            4 | 5 => {
                self.links.sides.clear();
                self.links.cut.clear();
            }
            6 => self.weather(),
            7 => {
                let rate = 1_000 + self.random.below(20_000);
                self.links.rates.insert(place, rate);
            }
            8 | 9 => {
                self.switch_off(place);
                self.start_within(place, 30_000);
            }
            10 | 11 => {
                let survival = Survival::ALL[self.random.index(Survival::ALL.len())];
                let (operations, seed) = (self.random.below(8), self.random.next());
                self.nodes[place].fuse = Some(Fuse { operations, survival, seed });
            }
            12 => {
                // Up to six hours either way, or a clock that runs wrong by up to a tenth.
                let hours = i128::from(self.random.below(12 * 3600)) - 6 * 3600;
                if self.chance(70) {
                    self.nodes[place].skew += hours << 32;
                } else {
                    self.nodes[place].drift = (hours << 32) / (60 * 3600);
                }
            }
            13 => self.go(place),
            14 => {
                if self.nodes[place].process.is_some() && self.chance(50) {
                    let seed = self.random.next();
                    self.note(10, place, seed);
                    self.nodes[place].turn(self.now);
                    self.nodes[place].wipe(seed);
                    self.start_within(place, 10_000);
                }
            }
            15 => self.nodes[place].back_up(),
            16 => {
                // Restored where there is a copy.
                if self.nodes[place].backup.is_some() {
                    self.nodes[place].turn(self.now);
                    self.nodes[place].restore();
                    self.start_within(place, 10_000);
                }
            }
            17 => self.fill(place),
            18 => self.swizzle(),
            _ => {
                self.nodes[place].turn(self.now);
                let Some(process) = &mut self.nodes[place].process else { return };
                if self.random.one_in(3) {
                    process.cluster.pause(true);
                    let after = self.millis(10_000);
                    self.at(self.now + after, Event::Trouble(Trouble::Resume { place }));
                } else {
                    // It fails where the disk is full.
                    let _ = process.store.checkpoint();
                }
            }
        }
    }

    /// Two or three sides that don't hear of each other.
    fn part(&mut self) {
        let sides = 2 + self.random.below(2);
        for place in 0..self.nodes.len() {
            let side = self.random.below(sides);
            self.links.sides.insert(place, side);
        }
    }

    fn weather(&mut self) {
        let links = &mut self.links;
        links.loss = self.random.below(30);
        links.twice = self.random.below(15);
        links.late = self.random.below(20);
        links.way = (1 + self.random.below(100), 1 + self.random.below(50));
    }

    /// Power cut or death of the process, of a machine that runs.
    pub(crate) fn switch_off(&mut self, place: usize) {
        if self.nodes[place].process.is_some() {
            let seed = self.random.next();
            let disk = &self.nodes[place].disk;
            let disk = match self.random.index(2 * Survival::ALL.len()) {
                how if how < Survival::ALL.len() => disk.power_cut(Survival::ALL[how], seed),
                _ => disk.fork(),
            };
            self.kill(place, disk);
        }
    }

    /// Says good-bye, to come back or for ever.
    fn go(&mut self, place: usize) {
        let gone = self.nodes.iter().filter(|node| node.gone).count();
        self.stop(place);
        if place >= SEATS && 8 * (gone + 1) <= self.nodes.len() && self.chance(50) {
            self.nodes[place].gone = true;
        } else {
            self.start_within(place, 20_000);
        }
    }

    fn fill(&mut self, place: usize) {
        let room = self.random.below(20_000);
        let disk = &self.nodes[place].disk;
        let most = 1 << 40;
        disk.set_capacity(Some(most));
        let used = most - disk.available().unwrap();
        disk.set_capacity(Some(used + room));
        let after = self.millis(20_000);
        self.at(self.now + after, Event::Trouble(Trouble::Room { place }));
    }

    /// A disk gets room; a node that could not write is started anew.
    fn make_room(&mut self, place: usize) {
        self.nodes[place].disk.set_capacity(None);
        if self.nodes[place].process.as_ref().is_some_and(|process| process.broken) {
            let disk = self.nodes[place].disk.fork();
            self.kill(place, disk);
        }
        self.start(place);
    }

    /// Some are switched off one by one, and on again in another order.
    fn swizzle(&mut self) {
        let mut some = self.running();
        some.retain(|_| self.random.one_in(3));
        let mut time = self.now;
        for place in &some {
            time += self.millis(1_000);
            self.at(time, Event::Trouble(Trouble::Off { place: *place }));
        }
        while !some.is_empty() {
            let place = some.swap_remove(self.random.index(some.len()));
            time += self.millis(2_000);
            self.at(time, Event::Start { place });
        }
    }

    /// Troubles and writing clients for so long, and then all is put right that can be.
    pub(crate) fn live_through(&mut self, time: Duration) {
        self.until = self.now + time;
        self.at(self.now, Event::Trouble(Trouble::Next));
        self.at(self.now, Event::Write);
        self.run_for(time);
        self.put_right();
    }

    fn put_right(&mut self) {
        self.links.mend();
        self.links.way = (5, 20);
        for place in 0..self.nodes.len() {
            self.nodes[place].fuse = None;
            self.make_room(place);
            if let Some(process) = &mut self.nodes[place].process {
                process.cluster.pause(false);
                self.go_on(place);
            }
        }
    }

    /// How long it may take from the end of all troubles until all hold the same.
    ///
    /// - A node leaves another alone after failed sessions for a time that doubles: 1 s at first,
    ///   120 s at most, a quarter more by chance. What is left of it is no more than 5/3 of the
    ///   troubles, since the pauses before took at least 3/4 of the same sum.
    /// - A session that has lost its peer ends when its requests have been repeated in vain.
    /// - Members that are called down are asked three at a time every 20 s whether they are, by
    ///   everybody, and take it back.
    /// - Whatever gossip says, each node then meets all others in turn, four in each interval: news
    ///   doubles its holders in at most an interval and a quarter, and a session goes both ways.
    pub(crate) fn bound(&self, troubles: Duration) -> Duration {
        let limits = &self.shape.limits;
        let pause = (troubles * 5 / 3 + 2 * SECOND).min(150 * SECOND);
        let session = limits.answer_time_max * (limits.tries_max + 1) * 2;
        let rounds = self.nodes.len().next_power_of_two().ilog2() + 1;
        pause + session + 60 * SECOND + (self.shape.interval * 5 / 4 + SECOND) * rounds
    }
}
