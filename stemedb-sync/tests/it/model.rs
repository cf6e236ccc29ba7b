//! Stores in memory, and a driver that runs a session against whatever answers.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use stemedb_merkle::{
    Hash, MerkleTree, Root, Timestamp,
    history::{LogSize, MemoryHistory, leaf_hash},
    set::Entry,
};
use stemedb_sync::{
    Config, Identity, Keys, Limits, MemoryBudget, Output, Pin, Report, Responder, Session, Source,
    Unreadable,
    keys::SessionKey,
    message::{Answer, Ask, Envelope, Finish, Refusal, Request, Response, Wanted, Welcome},
    responder::{Reply, RequestContext},
    symbols::Sketch,
};

/// A generator of numbers that look random (Steele, Lea, Flood: `SplitMix`, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| u8::try_from(self.below(256)).unwrap())
    }
}

/// A store in memory.
pub(crate) struct Store {
    pub(crate) identity: Identity,
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) places: HashMap<Hash, usize>,
    pub(crate) tree: MerkleTree,
    pub(crate) history: MemoryHistory,
    pub(crate) sketch: Option<Sketch>,
    /// Ids whose bodies can't be read.
    pub(crate) unreadable: BTreeSet<Hash>,
    /// Whether roots of the log as it was can't be read.
    pub(crate) forgetful: bool,
    /// Whether it takes no bodies of peers any more.
    pub(crate) full: bool,
}

impl Store {
    pub(crate) fn new(node: u8, secret: Option<&[u8]>, sketch_len: usize) -> Self {
        let keys = Keys::new(secret);
        let sketch = (sketch_len > 0).then(|| Sketch::new(keys.symbol_key(), sketch_len));
        Self {
            identity: Identity { node: [node; 16], epoch: 1, keys },
            bodies: Vec::new(),
            places: HashMap::new(),
            tree: MerkleTree::new(),
            history: MemoryHistory::new(),
            sketch,
            unreadable: BTreeSet::new(),
            forgetful: false,
            full: false,
        }
    }

    /// Appends bodies, all at once; says of each its id and whether it is new.
    pub(crate) fn append(&mut self, bodies: Vec<Vec<u8>>) -> Vec<(Hash, bool)> {
        let mut taken = Vec::new();
        let mut entries = Vec::new();
        for body in bodies {
            let id = self.identity.keys.id(&body);
            let place = self.bodies.len();
            let new = !self.places.contains_key(&id);
            taken.push((id, new));
            if new {
                self.places.insert(id, place);
                self.bodies.push(body);
                self.history.append(leaf_hash(Timestamp::from_ntp64(place as u64), &id));
                entries.push(Entry { id, position: place as u64 });
                if let Some(sketch) = &mut self.sketch {
                    sketch.insert(&id);
                }
            }
        }
        self.tree.insert_batch(&entries).unwrap();
        taken
    }

    pub(crate) fn write(&mut self, body: &[u8]) {
        self.append(vec![body.to_vec()]);
    }

    pub(crate) fn holds(&self, id: &Hash) -> bool {
        self.places.contains_key(id)
    }

    pub(crate) fn now(&self) -> Pin {
        let head = self.history.head();
        Pin {
            snapshot: self.tree.snapshot(),
            log: head,
            sketch: self.sketch.clone().map(std::sync::Arc::new),
        }
    }
}

impl Source for Store {
    fn pin(&self) -> Result<Pin, Unreadable> {
        Ok(self.now())
    }

    fn log_root_at(&self, size: u64) -> Result<Option<Root>, Unreadable> {
        if self.forgetful {
            return Err(Unreadable);
        }
        Ok(self.history.head_at(LogSize(size)).ok().map(|head| head.root))
    }

    fn body(&self, id: &Hash) -> Result<Option<Vec<u8>>, Unreadable> {
        if self.unreadable.contains(id) {
            return Err(Unreadable);
        }
        Ok(self.places.get(id).and_then(|place| self.bodies.get(*place)).cloned())
    }

    fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Unreadable> {
        let body = self.bodies.get(usize::try_from(index).unwrap());
        match body {
            Some(body) => self.body(&self.identity.keys.id(body)),
            None => Ok(None),
        }
    }
}

/// A store that answers.
pub(crate) struct Peer {
    pub(crate) store: Store,
    pub(crate) responder: Responder,
    pub(crate) random: Random,
    pub(crate) now: Duration,
    /// Where requests come from.
    pub(crate) from: IpAddr,
}

impl Peer {
    pub(crate) fn new(store: Store, limits: Limits) -> Self {
        Self::with_memory(store, limits, MemoryBudget::default())
    }

    pub(crate) fn with_memory(store: Store, limits: Limits, memory: MemoryBudget) -> Self {
        let responder = Responder::with_memory(store.identity.clone(), limits, memory);
        let from = Ipv4Addr::LOCALHOST.into();
        Self { store, responder, random: Random(7), now: Duration::ZERO, from }
    }

    pub(crate) fn answer(&mut self, request: Request) -> Vec<Result<Response, Refusal>> {
        let context = RequestContext {
            now: self.now,
            time: 1 << 40,
            nonce: self.random.bytes(),
            from: self.from,
        };
        match self.responder.answer(request, &self.store, context) {
            Err(refusal) => vec![Err(refusal)],
            Ok(Reply::Nothing) => Vec::new(),
            Ok(Reply::Answer(response)) => vec![Ok(response)],
            Ok(Reply::Stream(mut stream)) => {
                std::iter::from_fn(|| stream.next(&self.store)).collect()
            }
            Ok(Reply::Take(mut pending)) => {
                let taken =
                    self.store.append(pending.bodies().iter().map(<[u8]>::to_vec).collect());
                pending.done(&taken).map(Ok).into_iter().collect()
            }
        }
    }
}

/// A session that is open at a peer, and whose requests are made by hand.
pub(crate) struct Opened {
    pub(crate) envelope: Envelope,
    pub(crate) key: SessionKey,
}

impl Opened {
    /// Opens a session; the node is that of the configuration.
    pub(crate) fn new(peer: &mut Peer, store: &Store, config: Config) -> Result<Self, Refusal> {
        let now = Duration::ZERO;
        let mut session = Session::new(config, store.now(), 1 << 40, now);
        let Some(Output::Send(hello)) = session.next(now) else { panic!("no question") };
        let Response { echo, answer } = peer.answer(hello).remove(0)?;
        let Answer::Welcome(Welcome { nonce, .. }) = answer else { panic!("no welcome") };
        let key = store.identity.keys.session_key(&echo.session, &nonce);
        let (session, snapshot) = (echo.session, echo.snapshot);
        let envelope = Envelope { session, snapshot, request: 2, mac: [0; 16] };
        Ok(Self { envelope, key })
    }

    /// A request of the session.
    pub(crate) fn request(&self, number: u64, ask: Ask) -> Request {
        self.sealed(Envelope { request: number, ..self.envelope }, ask)
    }

    /// A request that its sender sealed, whatever it says.
    pub(crate) fn sealed(&self, envelope: Envelope, ask: Ask) -> Request {
        self.key.seal_request(Request { envelope, ask })
    }
}

/// No two sessions have the same.
static SEEDS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn config(store: &Store, limits: &Limits) -> Config {
    Config::new(store.identity.clone(), Random(SEEDS.fetch_add(1, Ordering::Relaxed)).bytes())
        .limits(limits.clone())
}

/// Runs a session to its end over a link that loses nothing. Time stands still but where the
/// session waits for it.
pub(crate) fn run(
    store: &mut Store,
    config: Config,
    answer: impl FnMut(Request) -> Vec<Result<Response, Refusal>>,
) -> Report {
    run_for(store, config, 1_000_000, answer)
}

/// Like [`run`], but responses come as they are, whether their MACs are right or not.
pub(crate) fn run_unsealed(
    store: &mut Store,
    config: Config,
    answer: impl FnMut(Request) -> Vec<Result<Response, Refusal>>,
) -> Report {
    drive(store, config, 1_000_000, false, answer)
}

/// Like [`run`], but the session is called off after so many steps.
pub(crate) fn run_for(
    store: &mut Store,
    config: Config,
    steps: u64,
    answer: impl FnMut(Request) -> Vec<Result<Response, Refusal>>,
) -> Report {
    drive(store, config, steps, true, answer)
}

fn drive(
    store: &mut Store,
    config: Config,
    steps: u64,
    sealed: bool,
    mut answer: impl FnMut(Request) -> Vec<Result<Response, Refusal>>,
) -> Report {
    let mut now = Duration::ZERO;
    let mut session = Session::new(config, store.now(), 1 << 40, now);
    for step in 0..2_000_000 {
        if step == steps {
            session.cancel(now);
        }
        let Some(output) = session.next(now) else {
            now = session.due().unwrap();
            session.tick(now);
            continue;
        };
        match output {
            Output::Done(report) => return *report,
            Output::Pin { .. } => session.pinned(store.now(), 1 << 40, now),
            Output::Append(append) if store.full => session.declined(append.number, now),
            Output::Append(append) => {
                let taken = store.append(append.iter().map(|(_, body)| body.to_vec()).collect());
                let duplicates = taken.iter().filter(|(_, new)| !new).count() as u64;
                session.appended(append.number, duplicates);
            }
            Output::Read(read) => {
                let mut bytes = 0;
                let mut bodies = Vec::new();
                for id in &read.ids {
                    let body = store.body(id).unwrap_or(None);
                    bytes += body.as_ref().map_or(0, Vec::len);
                    bodies.push(body);
                    if bytes >= read.bytes_aim {
                        break;
                    }
                }
                session.read(read.number, &bodies, now);
            }
            Output::Send(request) => {
                let envelope = request.envelope;
                let symbols = matches!(request.ask, Ask::Hello(_) | Ask::Symbols(_));
                session.sent(request.ask.kind(), request_len(&request));
                for reply in answer(request) {
                    // What is not needed is not taken in.
                    if symbols && !session.is_waiting(&envelope) {
                        break;
                    }
                    match reply {
                        Ok(response) => {
                            // What has the secret can say anything, and seal it.
                            let response = match session.key() {
                                Some(key) if sealed => key.seal_response(response),
                                _ => response,
                            };
                            let len = response_len(&response);
                            session.receive(response, len, now);
                        }
                        Err(refusal) => session.refused(&envelope, refusal, now),
                    }
                }
            }
        }
    }
    panic!("the session does not end");
}

/// Bytes of a field of bytes in protobuf.
fn field(len: usize) -> u64 {
    if len == 0 { 0 } else { 1 + number(len as u64) + len as u64 }
}

fn number(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}

/// Bytes of a field with a number.
fn varint(value: u64) -> u64 {
    if value == 0 { 0 } else { 1 + number(value) }
}

/// About what a request takes as protobuf, with the five bytes that gRPC puts before it.
pub(crate) fn request_len(request: &Request) -> u64 {
    let envelope = &request.envelope;
    let first = matches!(request.ask, Ask::Hello(_));
    let mut len = 5 + 2 + field(16) + varint(envelope.snapshot) + varint(envelope.request);
    len += if first { 0 } else { field(16) };
    len + match &request.ask {
        Ask::Hello(hello) => {
            let cursor = hello
                .cursor
                .map_or(0, |cursor| 2 + varint(cursor.epoch) + varint(cursor.size) + field(16));
            let set = 2 + varint(hello.set.count) + field(32);
            2 + field(16)
                + varint(hello.epoch)
                + field(16)
                + set
                + 9
                + cursor
                + varint(hello.symbols.into())
        }
        Ask::Symbols(ask) => varint(ask.from.into()) + varint(ask.count.into()),
        Ask::Ids(ask) => field(ask.prefixes.len()),
        Ask::Descend(ask) => field(ask.nodes.len()) + 2 + varint(ask.leaf_ids.into()),
        Ask::Fetch(fetch) => match &fetch.wanted {
            Wanted::Prefixes(ids) | Wanted::Ids(ids) => field(ids.len()),
        },
        Ask::Tail(tail) => varint(tail.from) + varint(tail.count),
        Ask::Push(push) => varint(push.part.into()) + field(push.bytes.len()) + 2,
        Ask::Leave => 0,
        Ask::Finish(Finish { set, now }) => {
            let sets = [set, now].into_iter().flatten();
            sets.map(|set| 2 + varint(set.count) + field(32)).sum()
        }
    }
}

/// About what a response takes.
pub(crate) fn response_len(response: &Response) -> u64 {
    let echo = &response.echo;
    let len = 5 + 2 + field(16) + varint(echo.snapshot) + varint(echo.request);
    len + match &response.answer {
        Answer::Welcome(welcome) => {
            let set = welcome.set.map_or(0, |set| 2 + varint(set.count) + field(32));
            let log = 2 + varint(welcome.log.size.0) + field(32);
            let nonce = if welcome.nonce == [0; 16] { 0 } else { field(16) };
            2 + field(16)
                + varint(welcome.epoch)
                + nonce
                + field(16)
                + set
                + log
                + 9
                + 2
                + varint(welcome.symbols.into())
        }
        Answer::Left => 0,
        Answer::Symbols(symbols) => varint(symbols.from.into()) + field(symbols.symbols.len()) + 2,
        Answer::Ids(ids) => field(ids.suffixes.len()),
        Answer::Subtrees(subtrees) => field(subtrees.subtrees.len()),
        Answer::Bodies(bodies) => {
            let end = bodies.end.map_or(0, |end| 2 + varint(end.processed));
            varint(bodies.part.into()) + field(bodies.bytes.len()) + end
        }
        Answer::Pushed(pushed) => varint(pushed.appended) + varint(pushed.duplicates),
        Answer::Finished(finished) => {
            2 + 4 + varint(finished.set.count) + varint(finished.log.size.0) + 2 * field(32)
        }
    }
}
