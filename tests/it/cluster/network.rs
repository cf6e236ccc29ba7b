//! Many machines, what lies between them, and the events that happen one after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use stemedb::rpc::store::peer_identity;

use stemedb::{
    Hash,
    sync::{
        Keys,
        cluster::{FrameError, Note, Output},
        message::{Envelope, Refusal, Request, Response, SetHead},
        session::Read,
    },
};
use stemedb_simdisk::FaultyDisk;
use stemedb_wal::disk::Disk as _;

use super::{
    frames::FORGED_COUNT,
    life::Hostile,
    links::Links,
    malice::Attacker,
    node::{Appended, Node, Shape, place_of},
    sabotage::Sabotage,
    trouble::Trouble,
};
use crate::reference::random::{Random, noise};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) enum Event {
    Frame {
        from: usize,
        to: usize,
        frame: Vec<u8>,
    },
    /// The hostile member does something.
    Strike,
    Tick {
        place: usize,
        run: u64,
    },
    Request {
        from: usize,
        run: u64,
        session: u64,
        to: usize,
        request: Request,
    },
    Told {
        place: usize,
        run: u64,
        session: u64,
        news: News,
    },
    /// A machine is switched on, unless it runs or has left for ever.
    Start {
        place: usize,
    },
    /// A trouble begins or ends.
    Trouble(Trouble),
    /// A client writes somewhere.
    Write,
}

/// What a session is told.
pub(crate) enum News {
    Received(Response),
    Refused(Envelope, Refusal),
    Lost(Envelope),
    Append(u64, Vec<Vec<u8>>),
    Read(Read),
    Pin,
    Due,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) events: u64,
    pub(crate) sessions: u64,
    pub(crate) repaired: u64,
    pub(crate) starts: u64,
    pub(crate) crashes: u64,
    pub(crate) torn: u64,
    pub(crate) full: u64,
    /// Frames of the hostile member that arrived, and how many of them were refused.
    pub(crate) hostile: u64,
    pub(crate) refused: u64,
    /// How many of them were good, and not listened to: repeats, or of somebody who is unknown.
    pub(crate) ignored: u64,
    /// How many of them were listened to.
    pub(crate) heard: u64,
    /// Packets that a run of a node listened to twice.
    pub(crate) repeated: u64,
    /// How often a node then took a forged head for that of another.
    pub(crate) forged: u64,
    /// Frames of nodes to its machine.
    pub(crate) answers: u64,
    /// Frames to addresses that it made up.
    pub(crate) made_up: u64,
    /// Second keys of node ids that were noticed.
    pub(crate) duplicates: u64,
}

impl Counts {
    /// Adds what the hostile member of another life did.
    pub(crate) fn add_hostile(&mut self, other: &Self) {
        self.hostile += other.hostile;
        self.refused += other.refused;
        self.ignored += other.ignored;
        self.heard += other.heard;
        self.forged += other.forged;
        self.repeated += other.repeated;
        self.answers += other.answers;
        self.made_up += other.made_up;
        self.duplicates += other.duplicates;
    }
}

pub(crate) struct Network {
    pub(crate) random: Random,
    pub(crate) shape: Shape,
    pub(crate) keys: Keys,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Links,
    pub(crate) now: Duration,
    /// Troubles and clients go on until then.
    pub(crate) until: Duration,
    /// The hostile member goes on until then.
    pub(crate) attacks_until: Duration,
    /// Bodies that clients have written, whether that was acknowledged or not.
    pub(crate) written: BTreeMap<Hash, Vec<u8>>,
    pub(crate) counts: Counts,
    pub(crate) attacker: Option<Attacker>,
    /// The responder's part of the keys of sessions whose answers are lies.
    pub(crate) nonces: BTreeMap<[u8; 16], [u8; 16]>,
    /// The packets that each run of a node has listened to, while there is a hostile member.
    listened: BTreeSet<(usize, u64, u64)>,
    /// A hash of all that has happened.
    pub(crate) trace: u64,
    pub(crate) next: u64,
    events: BTreeMap<(Duration, u64), Event>,
}

impl Network {
    pub(crate) fn new(random: Random, shape: Shape, places: usize) -> Self {
        let mut random = random;
        let keys = Keys::new(shape.secret.as_deref());
        let nodes = (0..places).map(|place| Node::new(place, random.next())).collect();
        Self {
            random,
            shape,
            keys,
            nodes,
            links: Links { way: (5, 20), ..Links::default() },
            now: SECOND,
            until: Duration::ZERO,
            attacks_until: Duration::ZERO,
            written: BTreeMap::new(),
            counts: Counts::default(),
            attacker: None,
            nonces: BTreeMap::new(),
            listened: BTreeSet::new(),
            trace: 0,
            next: 0,
            events: BTreeMap::new(),
        }
    }

    pub(crate) fn at(&mut self, time: Duration, event: Event) {
        self.next += 1;
        self.events.insert((time, self.next), event);
    }

    /// So many milliseconds at most, by chance.
    pub(crate) fn millis(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.random.below(most * 1000 + 1))
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.random.below(100) < percent
    }

    /// Places whose machines run.
    pub(crate) fn running(&self) -> Vec<usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| node.process.is_some()).map(|(place, _)| place).collect()
    }

    /// Notes something in the trace.
    pub(crate) fn note(&mut self, kind: u64, place: usize, what: u64) {
        for word in [kind, place as u64, what] {
            self.trace = (self.trace ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            self.now = self.now.max(entry.key().0);
            let event = entry.remove();
            self.counts.events += 1;
            self.handle(event);
        }
        self.now = end;
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        let nanos = u64::try_from(now.as_nanos()).unwrap();
        match event {
            Event::Strike => self.strike(),
            Event::Frame { from, to, frame } => {
                if let Some(attacker) = self.attacker.as_mut().filter(|it| it.place == to) {
                    let answers = attacker.receive(&frame);
                    return self.send_hostile(answers);
                }
                // The proof in front depends on all of it.
                let mac =
                    frame.get(2..10).map_or(0, |mac| u64::from_le_bytes(mac.try_into().unwrap()));
                self.note(1, to, nanos ^ mac);
                self.nodes[to].turn(now);
                let Some(process) = &mut self.nodes[to].process else { return };
                let taken = process.cluster.receive(&frame, now);
                let hostile = self.attacker.as_ref().is_some_and(|it| it.place == from);
                self.counts.hostile += u64::from(hostile);
                self.counts.refused += u64::from(hostile && taken.is_err());
                self.counts.ignored += u64::from(hostile && taken == Ok(None));
                self.counts.heard += u64::from(hostile && matches!(taken, Ok(Some(_))));
                let is_packet = frame.get(1) == Some(&2);
                if self.attacker.is_some() && is_packet && matches!(taken, Ok(Some(_))) {
                    let is_new = self.listened.insert((to, process.run, mac));
                    self.counts.repeated += u64::from(!is_new);
                }
                let is_forged = |set: SetHead| set.count == FORGED_COUNT;
                let forged = process.cluster.peers().any(|(_, it)| it.set().is_some_and(is_forged));
                self.counts.forged += u64::from(hostile && forged);
                // Who does not know a member takes one with its name for it, until that is gone.
                let misled = self.attacker.is_some() && taken == Err(FrameError::Signature);
                assert!(
                    taken.is_ok() || hostile || misled,
                    "an honest frame is not taken: {taken:?}"
                );
                self.go_on(to);
            }
            Event::Tick { place, run } => {
                if self.nodes[place].process.as_ref().is_some_and(|process| process.run == run) {
                    self.go_on(place);
                }
            }
            Event::Request { from, run, session, to, request } => {
                self.note(2, to, nanos ^ request.envelope.request);
                self.answer((from, run, session), to, request);
                self.go_on(to);
            }
            Event::Told { place, run, session, news } => {
                let Some(process) = &self.nodes[place].process else { return };
                if process.run == run && process.sessions.contains_key(&session) {
                    self.note(3, place, nanos ^ session);
                    self.tell(place, session, news);
                    self.drive(place, session);
                    self.go_on(place);
                }
            }
            Event::Start { place } => self.start(place),
            Event::Trouble(trouble) => self.suffer(trouble),
            Event::Write => self.client(),
        }
    }

    /// Switches a machine on.
    pub(crate) fn start(&mut self, place: usize) {
        if self.nodes[place].process.is_some() || self.nodes[place].gone {
            return;
        }
        self.next += 1;
        self.counts.starts += 1;
        let (shape, run, now) = (self.shape.clone(), self.next, self.now);
        if self.nodes[place].start(&shape, run, now).is_none() {
            return;
        }
        self.note(4, place, run);
        self.check_store(place);
        self.go_on(place);
    }

    /// The machine is off from now on, and has this disk when it is switched on again.
    pub(crate) fn kill(&mut self, place: usize, disk: FaultyDisk) {
        self.note(5, place, 0);
        self.counts.crashes += 1;
        self.nodes[place].turn(self.now);
        self.nodes[place].kill(disk);
    }

    /// Says good-bye and closes the store.
    pub(crate) fn stop(&mut self, place: usize) {
        self.note(6, place, 0);
        self.nodes[place].turn(self.now);
        let now = self.now;
        if let Some(process) = &mut self.nodes[place].process {
            process.cluster.leave(now);
            self.outputs(place);
        }
        self.nodes[place].end();
    }

    /// Appends at a machine, whose power may go off meanwhile.
    pub(crate) fn append(&mut self, place: usize, bodies: &[Vec<u8>]) -> Appended {
        let fuse = self.nodes[place].fuse;
        let appended = self.nodes[place].append(bodies, self.now);
        match &appended {
            Appended::Crashed(disk) => {
                let disk = fuse
                    .map_or_else(|| disk.clone(), |fuse| disk.power_cut(fuse.survival, fuse.seed));
                self.counts.torn += 1;
                self.kill(place, disk);
                let after = self.millis(20_000);
                self.at(self.now + after, Event::Start { place });
            }
            Appended::Failed => {
                let node = &self.nodes[place];
                let room = node.disk.available().unwrap();
                assert!(room < 1 << 20, "{} takes nothing, with room for {room}", node.address);
                self.counts.full += 1;
            }
            Appended::Durable(taken) => {
                let count = taken.len() as u64;
                self.note(7, place, count);
            }
        }
        appended
    }

    /// A client writes a few bodies somewhere.
    fn client(&mut self) {
        let running = self.running();
        if self.now >= self.until {
            return;
        }
        if !running.is_empty() {
            let place = running[self.random.index(running.len())];
            let most = if self.random.one_in(10) { 40 } else { 4 };
            let few = 1 + self.random.below(most);
            self.write(place, few);
            self.go_on(place);
        }
        let after = self.millis(1_500);
        self.at(self.now + after, Event::Write);
    }

    /// A client writes so many new bodies.
    pub(crate) fn write(&mut self, place: usize, count: u64) {
        let bodies: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let number = self.random.next();
                let most = if self.random.one_in(20) { 2000 } else { 200 };
                let len = self.random.index(most);
                noise(number, 8 + len)
            })
            .collect();
        for body in &bodies {
            self.written.insert(self.keys.id(body), body.clone());
        }
        self.append(place, &bodies);
    }

    /// Lets a node do what is due, and takes what comes out of it.
    pub(crate) fn go_on(&mut self, place: usize) {
        let now = self.now;
        loop {
            self.nodes[place].turn(now);
            let Some(process) = &mut self.nodes[place].process else { return };
            process.cluster.tick(now);
            if !self.outputs(place) {
                break;
            }
        }
        let Some(process) = &mut self.nodes[place].process else { return };
        let Some(due) = process.cluster.due().map(|due| due.max(now)) else { return };
        let run = process.run;
        if process.tick.is_none_or(|tick| tick <= now || tick > due) {
            process.tick = Some(due);
            self.at(due, Event::Tick { place, run });
        }
    }

    /// Does what a node wants; whether there was anything that may want more.
    fn outputs(&mut self, place: usize) -> bool {
        let now = self.now;
        let mut any = false;
        while let Some(output) =
            self.nodes[place].process.as_mut().and_then(|process| process.cluster.output())
        {
            match output {
                Output::Send { to, frame, .. } => {
                    if let Some(attacker) = &mut self.attacker {
                        attacker.overhear(&frame);
                    }
                    // Nobody is at an address that was made up.
                    let Some(to) = place_of(&to) else {
                        self.counts.made_up += 1;
                        if let Some(attacker) = &mut self.attacker {
                            let answers = attacker.answer_at(&to, &frame);
                            self.send_hostile(answers);
                        }
                        continue;
                    };
                    let hostile = self.attacker.as_ref().is_some_and(|it| it.place == to);
                    self.counts.answers += u64::from(hostile);
                    let len = frame.len() as u64;
                    self.nodes[place].sent += len;
                    if self.shape.sabotage == Sabotage::Talkative {
                        self.nodes[place].sent += len * self.nodes.len() as u64;
                    }
                    let times = self.links.send(&mut self.random, (place, to), len, now);
                    for time in times {
                        self.at(time, Event::Frame { from: place, to, frame: frame.clone() });
                    }
                }
                Output::Sync { peer } => {
                    any = true;
                    let to = place_of(&peer);
                    let to =
                        to.unwrap_or_else(|| panic!("a session with {peer}, which is made up"));
                    self.begin(place, to);
                }
                Output::Note(Note::DuplicateNodeId { address, .. }) => {
                    panic!("{} has a duplicate at {address}", self.nodes[place].address)
                }
                Output::Note(Note::DuplicateKey { node, address }) => {
                    assert!(self.attacker.is_some(), "{node:?} at {address} has a second key");
                    self.counts.duplicates += 1;
                }
                Output::Note(_) => {}
            }
        }
        any
    }

    /// Lets a hostile member in, which goes on until then.
    pub(crate) fn let_in(&mut self, hostile: Hostile, until: Duration) {
        let place = self.nodes.len();
        let secret = self.shape.secret.clone();
        self.attacker = Some(Attacker::new(hostile, place, secret.as_deref()));
        // Its machine runs no node of ours.
        let mut node = Node::new(place, 0);
        node.gone = true;
        self.nodes.push(node);
        self.attacks_until = until;
        self.at(self.now, Event::Strike);
    }

    /// The hostile member does something.
    fn strike(&mut self) {
        if self.now >= self.attacks_until {
            return;
        }
        let places = self.nodes.len();
        let Some(mut attacker) = self.attacker.take() else { return };
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            attacker.steal(peer_identity(&process.store).node);
        }
        let frames = attacker.strike(&mut self.random, places);
        self.attacker = Some(attacker);
        self.send_hostile(frames);
        self.at(self.now + SECOND / 5, Event::Strike);
    }

    fn send_hostile(&mut self, frames: Vec<(String, Vec<u8>)>) {
        let Some(from) = self.attacker.as_ref().map(|attacker| attacker.place) else { return };
        let now = self.now;
        for (to, frame) in frames {
            let Some(to) = place_of(&to).filter(|to| *to != from && now < self.attacks_until)
            else {
                continue;
            };
            let len = frame.len() as u64;
            for time in self.links.send(&mut self.random, (from, to), len, now) {
                self.at(time, Event::Frame { from, to, frame: frame.clone() });
            }
        }
    }

    /// What any machine that runs has acknowledged.
    pub(crate) fn acknowledged(&self) -> BTreeSet<Hash> {
        let running = self.nodes.iter().filter(|node| node.process.is_some());
        running.flat_map(|node| node.acknowledged.iter().copied()).collect()
    }
}
