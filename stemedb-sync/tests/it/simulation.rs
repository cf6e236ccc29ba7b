//! Two to eight stores that take writes, sync over links that drop, repeat, reorder, delay and cut,
//! and are restarted: every session ends, no honest peer is blamed, what a session calls complete
//! is, and once the faults stop all stores hold the same.
//!
//! `SIMULATION_SEED=n` runs one seed, `SIMULATION_SEEDS=n` as many from 0 on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on has failed"
)]

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    net::Ipv4Addr,
    time::Duration,
};

use crate::model::{Random, Store};
use stemedb_merkle::Hash;
use stemedb_sync::{
    Config, Direction, Ending, Limits, Output, Responder, Session, Source,
    message::{Answer, Envelope, Refusal, Request, Response},
    report::{Layer, PeerCursor, Report},
    responder::{Reply, RequestContext},
};

/// What goes wrong, in percent of messages or per step.
#[derive(Clone, Copy, Default)]
struct Faults {
    drop: u64,
    twice: u64,
    late: u64,
    refuse: u64,
    restart: u64,
    forget: u64,
    cancel: u64,
    write: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// A responder that leaves an id out of what it says, with the hashes of a smaller set.
    Lies,
    /// Bodies that are taken from the wire as they come, some of them changed.
    Unchecked,
}

struct Node {
    store: Store,
    responder: Responder,
    /// The session that this node runs, with whom, what both held when it began, and a number that
    /// tells its events from those of earlier ones.
    session: Option<Running>,
    cursors: Vec<Option<PeerCursor>>,
}

struct Running {
    session: Session,
    peer: usize,
    number: u64,
    mine: BTreeSet<Hash>,
    theirs: BTreeSet<Hash>,
    direction: Direction,
    /// When the next tick is to come.
    tick: Option<Duration>,
}

enum Event {
    Request { from: usize, to: usize, number: u64, request: Request },
    Response { to: usize, number: u64, response: Response },
    Refused { to: usize, number: u64, request: Envelope, refusal: Refusal },
    Lost { to: usize, number: u64, request: Envelope },
    Appended { to: usize, number: u64, append: u64, bodies: Vec<Vec<u8>> },
    Read { to: usize, number: u64, read: u64, ids: Vec<Hash> },
    Pinned { to: usize, number: u64 },
    Tick { to: usize, number: u64 },
}

struct Environment {
    random: Random,
    nodes: Vec<Node>,
    events: BinaryHeap<Reverse<(Duration, u64)>>,
    waiting: std::collections::HashMap<u64, Event>,
    next: u64,
    now: Duration,
    faults: Faults,
    limits: Limits,
    written: BTreeSet<Vec<u8>>,
    sabotage: Sabotage,
    ended: u64,
    complete: u64,
    log: Vec<String>,
}

impl Environment {
    fn new(seed: u64, sabotage: Sabotage) -> Self {
        let mut random = Random(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let count = 2 + random.below(7) as usize;
        let pick = |random: &mut Random, choices: &[usize]| {
            choices[random.below(choices.len() as u64) as usize]
        };
        let limits = Limits::default()
            .part_len_max(pick(&mut random, &[20, 100, 4096]))
            .answer_len_aim(pick(&mut random, &[50, 500, 100_000]))
            .message_len_max(pick(&mut random, &[20_000, 1 << 20]))
            .symbols_first(pick(&mut random, &[0, 8, 56, 200]) as u32)
            .symbols_per_request_max(pick(&mut random, &[16, 100, 100_000]) as u32)
            .symbols_max(pick(&mut random, &[64, 300, 20_000]) as u32)
            .ids_per_message_max(pick(&mut random, &[1, 7, 1000]))
            .nodes_per_message_max(pick(&mut random, &[1, 5, 1000]))
            .levels(pick(&mut random, &[1, 2, 3, 8]) as u8)
            .leaf_ids(pick(&mut random, &[0, 1, 8, 30]) as u32)
            .leaf_ids_max(pick(&mut random, &[100, 4096]) as u32)
            .entries_per_message_max(pick(&mut random, &[3, 100, 100_000]) as u64)
            .in_flight_max(pick(&mut random, &[1, 2, 4]))
            .pending_bytes_max(pick(&mut random, &[10, 1 << 20]))
            .answer_time_max(Duration::from_millis(500))
            .idle_time_max(Duration::from_secs(20))
            .session_time_max(Duration::from_secs(600))
            .rounds_max(100_000)
            .sessions_max(6)
            .sessions_per_peer_max(1);
        let secret = random.chance(30).then(|| random.bytes::<20>());
        let secret = secret.as_ref().map(<[u8; 20]>::as_slice);
        let nodes = (0..count).map(|node| {
            let sketch_len = pick(&mut random, &[0, 16, 256, 256, 256]);
            let store = Store::new(1 + node as u8, secret, sketch_len);
            let responder = Responder::new(store.identity.clone(), limits.clone());
            Node { store, responder, session: None, cursors: vec![None; count] }
        });
        let nodes = nodes.collect();
        let mut world = Self {
            random,
            nodes,
            events: BinaryHeap::new(),
            waiting: std::collections::HashMap::new(),
            next: 0,
            now: Duration::ZERO,
            faults: Faults::default(),
            limits,
            written: BTreeSet::new(),
            sabotage,
            ended: 0,
            complete: 0,
            log: Vec::new(),
        };
        let common = pick(&mut world.random, &[0, 0, 10, 100, 400]);
        for n in 0..common {
            for node in 0..count {
                world.write(node, format!("common {n}").into_bytes());
            }
        }
        for node in 0..count {
            let own = pick(&mut world.random, &[0, 1, 5, 40, 200]);
            for n in 0..own {
                world.write(node, format!("{node} {n}").into_bytes());
            }
        }
        let mut percent = |most: u64| world.random.below(most + 1);
        world.faults = Faults {
            drop: percent(20),
            twice: percent(15),
            late: percent(30),
            refuse: percent(3),
            restart: percent(2),
            forget: percent(3),
            cancel: percent(2),
            write: percent(20),
        };
        world
    }

    fn write(&mut self, node: usize, body: Vec<u8>) {
        self.nodes[node].store.append(vec![body.clone()]);
        self.written.insert(body);
    }

    fn at(&mut self, after: u64, event: Event) {
        self.next += 1;
        let time = self.now + Duration::from_millis(after);
        self.waiting.insert(self.next, event);
        self.events.push(Reverse((time, self.next)));
    }

    /// Sends something over a link: it may be lost, come twice, or late.
    fn send(&mut self, event: impl Fn() -> Event) {
        if self.random.chance(self.faults.drop) {
            return;
        }
        let times = 1 + u64::from(self.random.chance(self.faults.twice));
        for _ in 0..times {
            let late = self.random.chance(self.faults.late);
            let after = self.random.below(if late { 3000 } else { 30 });
            self.at(after, event());
        }
    }

    fn begin(&mut self, from: usize, to: usize, direction: Direction, plain: bool) {
        let mut without = Vec::new();
        for layer in [Layer::Cursor, Layer::Bulk, Layer::Symbols] {
            if !plain && self.random.chance(20) {
                without.push(layer);
            }
        }
        let ids = |node: &Node| node.store.places.keys().copied().collect();
        let config = Config::new(self.nodes[from].store.identity.clone(), self.random.bytes())
            .limits(self.limits.clone())
            .direction(direction)
            .cursor(self.nodes[from].cursors[to])
            .without(without);
        let pin = self.nodes[from].store.now();
        let running = Running {
            session: Session::new(config, pin, 1 << 40, self.now),
            peer: to,
            number: self.next,
            mine: ids(&self.nodes[from]),
            theirs: ids(&self.nodes[to]),
            direction,
            tick: None,
        };
        self.nodes[from].session = Some(running);
        self.drive(from);
    }

    /// Does what a node's session wants.
    fn drive(&mut self, node: usize) {
        loop {
            let now = self.now;
            let Some(running) = &mut self.nodes[node].session else { return };
            let (number, peer) = (running.number, running.peer);
            let Some(output) = running.session.next(now) else {
                if let Some(due) = running.session.due()
                    && running.tick.is_none_or(|tick| due < tick)
                {
                    running.tick = Some(due);
                    let after = due.saturating_sub(now).as_millis() as u64;
                    self.at(after.max(1), Event::Tick { to: node, number });
                }
                return;
            };
            match output {
                Output::Send(request) => {
                    if self.random.chance(self.faults.drop / 4) {
                        let request = request.envelope;
                        self.at(5, Event::Lost { to: node, number, request });
                    } else {
                        self.send(|| Event::Request {
                            from: node,
                            to: peer,
                            number,
                            request: request.clone(),
                        });
                    }
                }
                Output::Append(append) => {
                    let bodies: Vec<Vec<u8>> =
                        append.iter().map(|(_, body)| body.to_vec()).collect();
                    let append = append.number;
                    let after = self.random.below(50);
                    self.at(after, Event::Appended { to: node, number, append, bodies });
                }
                Output::Read(read) => {
                    let after = self.random.below(20);
                    let event = Event::Read { to: node, number, read: read.number, ids: read.ids };
                    self.at(after, event);
                }
                Output::Pin { .. } => {
                    let after = self.random.below(20);
                    self.at(after, Event::Pinned { to: node, number });
                }
                Output::Done(report) => {
                    self.done(node, &report);
                    return;
                }
            }
        }
    }

    fn done(&mut self, node: usize, report: &Report) {
        let running = self.nodes[node].session.take().unwrap();
        self.ended += 1;
        self.log
            .push(format!("{node} -> {}: {:?} {:?}", running.peer, report.ending, report.layers));
        match report.ending {
            Ending::ProtocolViolation(blame) if self.sabotage == Sabotage::None => {
                panic!("an honest peer is blamed: {blame}")
            }
            Ending::Refused(Refusal::Busy | Refusal::Closing)
            | Ending::ProtocolViolation(_)
            | Ending::Silent
            | Ending::Cancelled
            | Ending::Limit(_) => return,
            Ending::Complete => self.complete += 1,
            other => panic!("{other:?}"),
        }
        assert!(report.checked);
        self.nodes[node].cursors[running.peer] =
            report.cursor.or(self.nodes[node].cursors[running.peer]);
        if running.direction.pulls() {
            let store = &self.nodes[node].store;
            assert!(running.theirs.iter().all(|id| store.holds(id)), "it is not complete");
        }
        if running.direction.pushes() {
            let store = &self.nodes[running.peer].store;
            assert!(running.mine.iter().all(|id| store.holds(id)), "the peer is not complete");
        }
    }

    fn is_current(&self, node: usize, number: u64) -> bool {
        self.nodes[node].session.as_ref().is_some_and(|running| running.number == number)
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        let (to, number) = match event {
            Event::Request { from, to, number, request } => {
                return self.answer(from, to, number, request);
            }
            Event::Response { to, number, .. }
            | Event::Refused { to, number, .. }
            | Event::Lost { to, number, .. }
            | Event::Appended { to, number, .. }
            | Event::Read { to, number, .. }
            | Event::Pinned { to, number }
            | Event::Tick { to, number } => (to, number),
        };
        if !self.is_current(to, number) {
            return;
        }
        let Node { store, session, .. } = &mut self.nodes[to];
        let running = session.as_mut().unwrap();
        let session = &mut running.session;
        match event {
            Event::Request { .. } => {}
            Event::Response { mut response, .. } => {
                if self.sabotage == Sabotage::Unchecked
                    && let Answer::Bodies(bodies) = &mut response.answer
                    && let Some(byte) = bodies.bytes.last_mut()
                    && self.random.chance(20)
                {
                    *byte ^= 1;
                }
                // A peer that lies has the key.
                if self.sabotage != Sabotage::None
                    && let Some(key) = session.key()
                {
                    response = key.seal_response(response);
                }
                session.receive(response, 1, now);
            }
            Event::Refused { request, refusal, .. } => session.refused(&request, refusal, now),
            Event::Lost { request, .. } => session.lost(&request, now),
            Event::Appended { append, bodies, .. } => {
                let taken = store.append(bodies);
                let duplicates = taken.iter().filter(|(_, new)| !new).count();
                session.appended(append, duplicates as u64);
            }
            Event::Read { read, ids, .. } => {
                let some = 1 + self.random.below(ids.len() as u64) as usize;
                let bodies: Vec<_> =
                    ids.iter().take(some).map(|id| store.body(id).unwrap()).collect();
                session.read(read, &bodies, now);
            }
            Event::Pinned { .. } => session.pinned(store.now(), 1 << 40, now),
            Event::Tick { .. } => {
                running.tick = None;
                session.tick(now);
            }
        }
        self.drive(to);
    }

    fn answer(&mut self, from: usize, to: usize, number: u64, request: Request) {
        let asked = request.envelope;
        if self.random.chance(self.faults.refuse) && asked.request > 1 {
            let refusal = Refusal::SnapshotGone;
            return self.send(|| Event::Refused { to: from, number, request: asked, refusal });
        }
        let nonce = self.random.bytes();
        let address = Ipv4Addr::LOCALHOST.into();
        let context = RequestContext { now: self.now, time: 1 << 40, nonce, from: address };
        let Node { store, responder, .. } = &mut self.nodes[to];
        let (mut responses, mut refused) = (Vec::new(), None);
        match responder.answer(request, &*store, context) {
            Err(refusal) => {
                self.send(|| Event::Refused { to: from, number, request: asked, refusal });
            }
            Ok(Reply::Nothing) => {}
            Ok(Reply::Answer(response)) => responses.push(response),
            Ok(Reply::Stream(mut stream)) => {
                for part in std::iter::from_fn(|| stream.next(&*store)) {
                    match part {
                        Ok(part) => responses.push(part),
                        // So many symbols were lost and given again: no more are.
                        Err(refusal) => {
                            assert_eq!(refusal, Refusal::OverLimit);
                            refused = Some(refusal);
                        }
                    }
                }
            }
            Ok(Reply::Take(mut pending)) => {
                let taken = store.append(pending.bodies().iter().map(<[u8]>::to_vec).collect());
                responses.extend(pending.done(&taken));
            }
        }
        for mut response in responses {
            if self.sabotage == Sabotage::Lies
                && let Answer::Symbols(symbols) = &mut response.answer
                && let Some(byte) = symbols.symbols.last_mut()
            {
                *byte ^= 1;
            }
            if self.sabotage == Sabotage::Lies
                && let Answer::Subtrees(subtrees) = &mut response.answer
                && let Some(byte) = subtrees.subtrees.last_mut()
            {
                *byte ^= 1;
            }
            self.send(|| Event::Response { to: from, number, response: response.clone() });
        }
        if let Some(refusal) = refused {
            self.send(|| Event::Refused { to: from, number, request: asked, refusal });
        }
    }

    /// Lets time pass until nothing is left to happen, at most so many events.
    fn settle(&mut self, events_max: u64) {
        for _ in 0..events_max {
            if !self.step() {
                return;
            }
        }
        panic!("it does not end");
    }

    /// Lets the next thing happen, if there is one.
    fn step(&mut self) -> bool {
        let Some(Reverse((time, number))) = self.events.pop() else { return false };
        self.now = self.now.max(time);
        let event = self.waiting.remove(&number).unwrap();
        self.handle(event);
        self.disturb();
        true
    }

    fn disturb(&mut self) {
        let node = self.random.below(self.nodes.len() as u64) as usize;
        if self.random.chance(self.faults.write) && self.random.chance(20) {
            let body = format!("late {}", self.next).into_bytes();
            self.next += 1;
            self.write(node, body);
        }
        if self.random.chance(self.faults.restart) && self.random.chance(10) {
            self.nodes[node].session = None;
            self.nodes[node].responder.forget();
        }
        if self.random.chance(self.faults.cancel) && self.random.chance(10) {
            let now = self.now;
            if let Some(running) = &mut self.nodes[node].session {
                running.session.cancel(now);
                self.drive(node);
            }
        }
        if self.random.chance(self.faults.forget) && self.random.chance(10) {
            self.nodes[node].responder.forget();
        }
    }

    /// A session that is called off at any point leaves nothing open.
    fn give_up(&mut self) {
        let (from, to) = (0, self.nodes.len() - 1);
        for n in 0..self.random.below(50) {
            self.write(from, format!("from {n}").into_bytes());
            self.write(to, format!("to {n}").into_bytes());
        }
        self.begin(from, to, Direction::Both, true);
        let events = self.random.below(20);
        for _ in 0..events {
            self.step();
        }
        let now = self.now;
        if let Some(running) = &mut self.nodes[from].session {
            running.session.cancel(now);
            self.drive(from);
        }
        self.settle(200_000);
        let open = self.nodes[to].responder.sessions();
        assert_eq!(open, 0, "a session that was called off is left open");
    }

    fn converge(&mut self) {
        self.faults = Faults::default();
        let count = self.nodes.len();
        // Of those that nobody could tell that their session was over.
        self.nodes.iter().for_each(|node| node.responder.forget());
        for (from, to) in (1..count).map(|n| (n, 0)).chain((1..count).map(|n| (n, 0))) {
            self.begin(from, to, Direction::Both, true);
            self.settle(200_000);
            assert_eq!(self.nodes[to].responder.sessions(), 0, "a session is left open");
        }
        let root = self.nodes[0].store.tree.root();
        for node in &self.nodes {
            assert_eq!(node.store.tree.root(), root, "the stores differ: {:#?}", self.log);
            for body in &node.store.bodies {
                assert!(self.written.contains(body), "a body that nobody wrote");
            }
        }
        assert_eq!(self.nodes[0].store.bodies.len(), self.written.len(), "something is lost");
    }
}

/// Runs one seed and gives how many sessions ended, and how many of them complete.
fn simulate(seed: u64, sabotage: Sabotage) -> (u64, u64) {
    let mut world = Environment::new(seed, sabotage);
    let count = world.nodes.len() as u64;
    for _ in 0..3 {
        // Several sessions at the same time, some of them with each other.
        for from in 0..count as usize {
            let to = world.random.below(count) as usize;
            if from != to && world.random.chance(70) {
                let directions =
                    [Direction::Both, Direction::Both, Direction::Pull, Direction::Push];
                let direction = directions[world.random.below(4) as usize];
                world.begin(from, to, direction, false);
            }
        }
        world.settle(500_000);
    }
    world.converge();
    world.give_up();
    (world.ended, world.complete)
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}", self.0);
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds(from: u64, to: u64) {
    let (mut ended, mut complete) = (0, 0);
    for seed in from..to {
        let named = Named(seed);
        let (all, whole) = simulate(seed, Sabotage::None);
        (ended, complete) = (ended + all, complete + whole);
        drop(named);
    }
    println!("{ended} sessions ended, {complete} of them complete");
    assert!(complete * 2 > ended, "most sessions come to their end");
}

#[test]
fn stores_converge_once_faults_stop() {
    if let Some(seed) = variable("SIMULATION_SEED") {
        return seeds(seed, seed + 1);
    }
    let count = variable("SIMULATION_SEEDS").unwrap_or(2_000);
    // Two threads, each with a half.
    std::thread::scope(|scope| {
        scope.spawn(|| seeds(0, count / 2));
        scope.spawn(|| seeds(count / 2, count));
    });
}

/// Negative controls: the simulation notices a responder that lies and bodies that are changed.
#[test]
fn the_simulation_notices_lies_and_changed_bodies() {
    for sabotage in [Sabotage::Lies, Sabotage::Unchecked] {
        let failed =
            (0..20).filter(|seed| std::panic::catch_unwind(|| simulate(*seed, sabotage)).is_err());
        let failed = failed.count();
        assert!(failed > 10, "only {failed} of 20 failed");
    }
}
