//! The worked example of `docs/protocol.md`: four sessions of two tiny stores, byte by byte.
//!
//! Bodies, node ids, session ids, nonces and clocks are fixed, so the sessions always say the same.
//! A figure is the fenced block that follows a line `<!-- example: NAME -->` in the document; each
//! is held against what the sessions say. If the protocol has changed on purpose, run
//!
//! ```sh
//! STEMEDB_WRITE_EXAMPLE=1 cargo test -p stemedb-rpc --test it -- --ignored
//! ```
//!
//! which puts the figures of this build into the document. Read what has changed, and say in the
//! changelog how two versions get along.

mod anatomy;

use std::{fs, net::Ipv4Addr, path::PathBuf, time::Duration};

use crate::model::Store;
use anatomy::{Protocol, hex, lines};
use prost::Message;
use stemedb_merkle::Hash;
use stemedb_rpc::proto::v1;
use stemedb_sync::{
    Config, Direction, Ending, Limits, Output, Responder, Session,
    codec::{
        bodies::{Item, ItemReader},
        prefixes::{self, Prefix},
        subtrees::Below,
        varint,
    },
    message::{Answer, Ask, Request, Response, SetHead},
    report::{Layer, PeerCursor, Report},
    responder::{Reply, RequestContext},
    symbols,
};

/// 2026-01-01 00:00:00 UTC; the clock of B is half a second ahead.
const TIME: u64 = 1_767_225_600 << 32;
const TIME_OF_B: u64 = TIME + (1 << 31);

/// A request or a response as it travels: the message's name, and its bytes.
type Said = (&'static str, Vec<u8>);

/// The two stores, and what they say.
struct Environment {
    a: Store,
    b: Store,
    /// Names of bodies, to explain ids.
    names: Vec<(Hash, String)>,
    sessions: u8,
}

impl Environment {
    fn new() -> Self {
        let (a, b) = (Store::new(0xaa, None, 64), Store::new(0xbb, None, 64));
        let mut world = Self { a, b, names: Vec::new(), sessions: 0 };
        for body in ["ash", "beech", "oak", "pine"] {
            world.write(true, body);
        }
        for body in ["ash", "beech", "elm"] {
            world.write(false, body);
        }
        world
    }

    fn write(&mut self, a: bool, body: &str) {
        let store = if a { &mut self.a } else { &mut self.b };
        store.write(body.as_bytes());
        let id = store.identity.keys.id(body.as_bytes());
        if !self.names.iter().any(|(known, _)| *known == id) {
            self.names.push((id, body.to_owned()));
        }
    }

    /// The body whose id begins with these bytes, or ends with them.
    fn name(&self, part: &[u8]) -> &str {
        let fits = |id: &Hash| id.starts_with(part) || id.ends_with(part);
        self.names.iter().find(|(id, _)| fits(id)).map_or("?", |(_, name)| name)
    }

    /// A session of A with B, and all that is said in it.
    fn sync(
        &mut self,
        limits: Limits,
        without: Vec<Layer>,
        cursor: Option<PeerCursor>,
    ) -> (Report, Vec<Said>) {
        self.sessions += 1;
        let (number, now) = (self.sessions, Duration::ZERO);
        let responder = Responder::new(self.b.identity.clone(), limits.clone());
        let identity = self.a.identity.clone();
        let (direction, seed) = (Direction::Both, [number; 32]);
        let config = Config::new(identity, seed)
            .limits(limits)
            .direction(direction)
            .cursor(cursor)
            .without(without);
        let mut session = Session::new(config, self.a.now(), TIME, now);
        let mut said = Vec::new();
        loop {
            match session.next(now).unwrap() {
                Output::Done(report) => return (*report, said),
                Output::Pin { .. } => session.pinned(self.a.now(), TIME, now),
                Output::Append(append) => {
                    self.a.append(append.iter().map(|(_, body)| body.to_vec()).collect());
                    session.appended(append.number, 0);
                }
                Output::Read(read) => {
                    let place = |id| self.a.places[id];
                    let bodies = read.ids.iter().map(|id| Some(self.a.bodies[place(id)].clone()));
                    session.read(read.number, &bodies.collect::<Vec<_>>(), now);
                }
                Output::Send(request) => {
                    let (asked, envelope) = (request.ask.clone(), request.envelope);
                    said.push(request_message(request.clone()));
                    let nonce = [0xb0 + number; 16];
                    let from = Ipv4Addr::LOCALHOST.into();
                    let context = RequestContext { now, time: TIME_OF_B, nonce, from };
                    let replies: Vec<Response> =
                        match responder.answer(request, &self.b, context).unwrap() {
                            Reply::Nothing => vec![],
                            Reply::Answer(response) => vec![response],
                            Reply::Stream(mut parts) => std::iter::from_fn(|| parts.next(&self.b))
                                .map(Result::unwrap)
                                .collect(),
                            Reply::Take(mut pending) => {
                                let taken = self
                                    .b
                                    .append(pending.bodies().iter().map(<[u8]>::to_vec).collect());
                                pending.done(&taken).into_iter().collect()
                            }
                        };
                    for response in replies {
                        // What is not needed any more is not taken in.
                        if !session.is_waiting(&envelope) {
                            break;
                        }
                        let message = response_message(&asked, response.clone());
                        let bytes = message.1.len() as u64 + 5;
                        said.push(message);
                        session.receive(response, bytes, now);
                    }
                }
            }
        }
    }

    /// The lists in messages, item by item.
    fn split(&self, field: &str, bytes: &[u8]) -> Option<Vec<(Vec<u8>, String)>> {
        let names = |len: usize, what: &str| -> Vec<_> {
            let items = bytes.chunks(len);
            items.map(|item| (item.to_vec(), format!("{what}{}", self.name(item)))).collect()
        };
        Some(match field {
            "prefixes" => names(8, "prefix of "),
            "suffixes" => names(24, "suffix of "),
            "ids" => names(32, "id of "),
            "nodes" => prefixes::read(bytes, 100)
                .unwrap()
                .into_iter()
                .map(|prefix| (prefixes::write(&[prefix]), prefix_text(&prefix)))
                .collect(),
            "bytes" => bodies_of(bytes),
            _ => return None,
        })
    }

    /// Symbols, with the index of the first and the ids they are over.
    fn split_symbols(from: u32, count: u64, bytes: &[u8]) -> Vec<(Vec<u8>, String)> {
        let read = symbols::decode(bytes, from, count, 100).unwrap();
        let each = (from..).zip(read).map(|(index, symbol)| {
            let what = format!("symbol {index}: count {}", symbol.count);
            (symbols::encode(&[symbol], index, count), what)
        });
        each.collect()
    }

    /// What lies below the prefixes of a request.
    fn split_subtrees(
        &self,
        asked: &v1::DescendRequest,
        mut rest: &[u8],
    ) -> Vec<(Vec<u8>, String)> {
        let (levels, few) = (u8::try_from(asked.levels).unwrap(), asked.leaf_ids as usize);
        let mut found = Vec::new();
        for prefix in prefixes::read(&asked.nodes, 100).unwrap() {
            let before = rest;
            let below = Below::read(&mut rest, &prefix, levels, few).unwrap();
            let bytes = &before[..before.len() - rest.len()];
            let under = format!("below {}", prefix_text(&prefix));
            match below {
                Below::Ids(ids) => {
                    let head = 1 + varint::len(ids.len() as u64);
                    found.push((bytes[..head].to_vec(), format!("{under}: {} ids", ids.len())));
                    let each = bytes[head..].chunks(32 - prefix.whole_bytes());
                    found.extend(each.map(|id| (id.to_vec(), self.name(id).to_owned())));
                }
                Below::Places(places) => {
                    let states = places.len().div_ceil(4);
                    found.push((bytes[..1].to_vec(), format!("{under}: places")));
                    let what = format!("states of {} places", places.len());
                    found.push((bytes[1..][..states].to_vec(), what));
                    let whole =
                        usize::from(prefix.depth() + u16::from(levels).min(256 - prefix.depth()))
                            / 8;
                    let mut parts = &bytes[1 + states..];
                    for (index, place) in places.iter().enumerate() {
                        let (len, what) = match place {
                            stemedb_sync::codec::subtrees::Place::Empty => continue,
                            stemedb_sync::codec::subtrees::Place::One(id) => {
                                (32 - whole, format!("place {index}: {}", self.name(id)))
                            }
                            stemedb_sync::codec::subtrees::Place::Many(_) => {
                                (32, format!("place {index}: a hash"))
                            }
                        };
                        let (part, behind) = parts.split_at(len);
                        found.push((part.to_vec(), what));
                        parts = behind;
                    }
                    assert!(parts.is_empty());
                }
            }
        }
        assert!(rest.is_empty());
        found
    }
}

fn prefix_text(prefix: &Prefix) -> String {
    if prefix.depth() == 0 {
        return "the empty prefix".to_owned();
    }
    let bit = |at: u16| prefix.bits()[usize::from(at / 8)] >> (7 - at % 8) & 1;
    (0..prefix.depth()).map(|at| char::from(b'0' + bit(at))).collect()
}

/// Bodies: the length of each, and its text.
fn bodies_of(bytes: &[u8]) -> Vec<(Vec<u8>, String)> {
    let items = ItemReader::default().push(bytes, 100).unwrap();
    let each = items.into_iter().map(|item| {
        let Item::Body(body) = item else { panic!("a body is missing") };
        let mut bytes = Vec::new();
        stemedb_sync::codec::bodies::write(&body, &mut bytes);
        let text = String::from_utf8(body).unwrap();
        (bytes, format!("{} + 1, {text:?}", text.len()))
    });
    each.collect()
}

fn request_message(Request { envelope, ask }: Request) -> Said {
    match ask {
        Ask::Hello(ask) => {
            ("HelloRequest", v1::HelloRequest::from((envelope, ask)).encode_to_vec())
        }
        Ask::Symbols(ask) => {
            ("SymbolsRequest", v1::SymbolsRequest::from((envelope, ask)).encode_to_vec())
        }
        Ask::Ids(ask) => ("IdsRequest", v1::IdsRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Descend(ask) => {
            ("DescendRequest", v1::DescendRequest::from((envelope, ask)).encode_to_vec())
        }
        Ask::Fetch(ask) => {
            ("FetchRequest", v1::FetchRequest::from((envelope, ask)).encode_to_vec())
        }
        Ask::Tail(ask) => ("TailRequest", v1::TailRequest::from((envelope, ask)).encode_to_vec()),
        Ask::Push(ask) => {
            let (envelope, len) = (Some(envelope.into()), 0);
            let (part, bytes, last) = (ask.part, ask.bytes, ask.last);
            ("PushRequest", v1::PushRequest { envelope, part, bytes, len, last }.encode_to_vec())
        }
        Ask::Finish(ask) => {
            ("FinishRequest", v1::FinishRequest::from((envelope, ask)).encode_to_vec())
        }
        Ask::Leave => ("LeaveRequest", v1::LeaveRequest::from(envelope).encode_to_vec()),
    }
}

fn response_message(asked: &Ask, Response { echo, answer }: Response) -> Said {
    match answer {
        Answer::Welcome(answer) => {
            ("HelloResponse", v1::HelloResponse::from((echo, answer)).encode_to_vec())
        }
        Answer::Symbols(answer) if matches!(asked, Ask::Hello(_)) => {
            ("HelloResponse", v1::HelloResponse::from((echo, answer)).encode_to_vec())
        }
        Answer::Symbols(answer) => {
            ("SymbolsResponse", v1::SymbolsResponse::from((echo, answer)).encode_to_vec())
        }
        Answer::Ids(answer) => {
            ("IdsResponse", v1::IdsResponse::from((echo, answer)).encode_to_vec())
        }
        Answer::Subtrees(answer) => {
            ("DescendResponse", v1::DescendResponse::from((echo, answer)).encode_to_vec())
        }
        Answer::Bodies(answer) => {
            let (echo, len) = (Some(echo.into()), 0);
            let (part, bytes) = (answer.part, answer.bytes);
            let end = answer.end.map(|end| v1::BodiesEnd { processed: end.processed });
            ("BodiesResponse", v1::BodiesResponse { echo, part, bytes, len, end }.encode_to_vec())
        }
        Answer::Pushed(answer) => {
            ("PushResponse", v1::PushResponse::from((echo, answer)).encode_to_vec())
        }
        Answer::Finished(answer) => {
            ("FinishResponse", v1::FinishResponse::from((echo, answer)).encode_to_vec())
        }
        Answer::Left => ("LeaveResponse", v1::LeaveResponse::from((echo, ())).encode_to_vec()),
    }
}

/// A figure: its name in the document, and its text.
type Figure = (String, String);

/// All messages of a session as figures.
fn figures_of(world: &Environment, session: &str, said: &[Said]) -> Vec<Figure> {
    let protocol = Protocol::parse(include_str!("../../proto/stemedb/v1/replication.proto"));
    let count_of_b = world.b.tree.len();
    // Of the requests under way, which are one at a time here.
    let (mut from, mut descend) = (0, v1::DescendRequest::default());
    let mut figures = Vec::new();
    // Before its push, B held as many as it said.
    let mut count = count_of_b;
    for (place, (name, bytes)) in said.iter().enumerate() {
        match *name {
            "HelloResponse" => {
                let part = v1::HelloResponse::decode(&bytes[..]).unwrap().part.unwrap();
                if let v1::hello_response::Part::Welcome(welcome) = part {
                    count = welcome.set.map_or(count_of_b, |set| set.count);
                }
                from = 0;
            }
            "SymbolsRequest" => from = v1::SymbolsRequest::decode(&bytes[..]).unwrap().from,
            "DescendRequest" => descend = v1::DescendRequest::decode(&bytes[..]).unwrap(),
            _ => {}
        }
        let split = |message: &str, field: &str, bytes: &[u8]| match (message, field) {
            ("SymbolsResponse", "symbols") => Some(Environment::split_symbols(from, count, bytes)),
            ("DescendResponse", "subtrees") => Some(world.split_subtrees(&descend, bytes)),
            _ => world.split(field, bytes),
        };
        let text = protocol.figure(name, bytes, &split);
        let text = format!("{name}, {} bytes\n\n{text}", bytes.len());
        figures.push((format!("{session}/{}", place + 1), text));
    }
    figures
}

fn holdings(world: &Environment) -> String {
    let mut lines = Vec::new();
    for (id, name) in &world.names {
        let held = |store: &Store, name| if store.holds(id) { name } else { " " };
        let (a, b) = (held(&world.a, "A"), held(&world.b, "B"));
        lines.push(format!("{name:6}{} {a} {b}\n", hex(id)));
    }
    for (name, store) in [("A", &world.a), ("B", &world.b)] {
        let SetHead { count, root } = store.now().set();
        lines.push(format!("      {} set root of {name}, {count} ids\n", hex(&root.0)));
    }
    lines.concat()
}

/// What the proof of the first hello is a hash of, and the hash.
fn proof_figure(said: &[Said]) -> String {
    let hello = v1::HelloRequest::decode(&said[0].1[..]).unwrap();
    let (envelope, set) = (hello.envelope.unwrap(), hello.set.unwrap());
    let pieces = [
        (b"initiator".to_vec(), "\"initiator\""),
        (envelope.session, "session"),
        (hello.version.to_le_bytes().to_vec(), "version"),
        (hello.node, "node"),
        (hello.epoch.to_le_bytes().to_vec(), "epoch"),
        (set.count.to_le_bytes().to_vec(), "set.count"),
        (set.root, "set.root"),
        (hello.time.to_le_bytes().to_vec(), "time"),
        (vec![0], "cursor: absent"),
        (hello.symbols.to_le_bytes().to_vec(), "symbols"),
    ];
    // By the words of the protocol file, without the code that is tested.
    let key = blake3::derive_key("stemedb v1 peer check", b"");
    let input: Vec<u8> = pieces.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
    let hash = blake3::keyed_hash(&key, &input);
    assert_eq!(hash.as_bytes()[..16], hello.proof);
    let mut pieces: Vec<_> =
        pieces.map(|(bytes, what)| (0, bytes, what.to_owned())).into_iter().collect();
    pieces.insert(0, (0, key.to_vec(), "key: derive(\"peer check\")".to_owned()));
    let whole = lines(&pieces);
    let (key, input) = whole.split_once('\n').unwrap();
    format!("{key}\n\n{input}\n{:72}proof: the first 16 bytes of the hash\n", hex(&hello.proof))
}

/// All figures, and what holds of the sessions besides.
fn figures() -> Vec<Figure> {
    let mut world = Environment::new();
    let mut figures = vec![("holdings".to_owned(), holdings(&world))];
    let complete = |report: &Report, layers: &[Layer]| {
        assert_eq!(report.ending, Ending::Complete, "{report:?}");
        assert!(report.equal && report.checked && report.confirmed, "{report:?}");
        let used: Vec<Layer> = report.layers.iter().map(|step| step.layer).collect();
        assert_eq!(used, layers);
    };

    let few = Limits::default().symbols_first(2);
    let (report, said) = world.sync(few.clone(), vec![], None);
    complete(&report, &[Layer::Root, Layer::Symbols]);
    figures.push(("proof".to_owned(), proof_figure(&said)));
    figures.extend(figures_of(&world, "symbols", &said));

    world.write(false, "yew");
    let (report, said) = world.sync(few, vec![], report.cursor);
    complete(&report, &[Layer::Root, Layer::Cursor]);
    figures.extend(figures_of(&world, "cursor", &said));

    // The ids of these three begin with the same seven bits.
    world.write(true, "bay");
    world.write(false, "lime");
    world.write(false, "lemon");
    let descent = Limits::default().leaf_ids(1);
    let (report, said) = world.sync(descent, vec![Layer::Symbols, Layer::Cursor], None);
    complete(&report, &[Layer::Root, Layer::Descent]);
    figures.extend(figures_of(&world, "descent", &said));

    let (report, said) = world.sync(Limits::default(), vec![], report.cursor);
    complete(&report, &[Layer::Root]);
    figures.extend(figures_of(&world, "equal", &said));
    assert_eq!(world.a.tree.root(), world.b.tree.root());
    figures.push(("ends".to_owned(), holdings(&world)));
    figures
}

fn document() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md")
}

/// The figures of a document, and where the text of each is in it.
fn figures_in(text: &str) -> Vec<(String, core::ops::Range<usize>)> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("<!-- example: ") {
        let name = text[at + mark.len()..].split(" -->").next().unwrap();
        let open = at + text[at..].find("\n```text\n").unwrap() + "\n```text\n".len();
        let len = text[open..].find("```").unwrap();
        found.push((name.to_owned(), open..open + len));
    }
    found
}

#[test]
fn the_document_says_what_the_sessions_say() {
    let text = fs::read_to_string(document()).unwrap();
    let shown = figures_in(&text);
    let figures = figures();
    for (name, figure) in &figures {
        let place = shown.iter().find(|(shown, _)| shown == name);
        let Some((_, place)) = place else { panic!("docs/protocol.md lacks the figure {name}") };
        let lines = text[place.clone()].lines().zip(figure.lines());
        for (number, (shown, said)) in (1..).zip(lines) {
            assert_eq!(shown, said, "{name}, line {number}: see the head of this test");
        }
        assert_eq!(&text[place.clone()], figure, "{name}: see the head of this test");
    }
    for (name, _) in &shown {
        assert!(figures.iter().any(|(figure, _)| figure == name), "nothing says {name}");
    }
}

/// The table of limits has each of them, with its default.
#[test]
fn the_document_knows_every_limit() {
    let text = fs::read_to_string(document()).unwrap();
    let plain = |value: &str| value.replace([',', ' '], "");
    let limits = format!("{:?}", Limits::default());
    let limits = limits.trim_start_matches("Limits { ").trim_end_matches(" }");
    for limit in limits.split(", ") {
        let (name, value) = limit.split_once(": ").unwrap();
        let row = text.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let Some(row) = row else { panic!("docs/protocol.md does not know {name}") };
        let shown = row.split('|').nth(2).unwrap();
        let none = u64::MAX.to_string();
        let value = if value == none { "none" } else { value };
        assert_eq!(plain(shown), value, "{name}");
    }
}

#[test]
#[ignore = "writes the figures into the document, if STEMEDB_WRITE_EXAMPLE is set"]
fn write_the_figures() {
    if std::env::var("STEMEDB_WRITE_EXAMPLE").is_err() {
        return;
    }
    let figures = figures();
    let mut text = fs::read_to_string(document()).unwrap();
    for (name, place) in figures_in(&text).into_iter().rev() {
        let (_, figure) = figures.iter().find(|(figure, _)| *figure == name).unwrap();
        text.replace_range(place, figure);
    }
    fs::write(document(), text).unwrap();
    let names: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
    println!("figures: {}", names.join(" "));
}
