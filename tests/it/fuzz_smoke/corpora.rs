//! The first corpora: inputs that the targets take, to be changed from there.

use std::{fs, path::PathBuf, sync::Arc};

use prost::Message;
use stemedb::{
    LogIndex, LogSize, Position, ProofFile, Root, SetProof, Terminal, Timestamp, fuzzing,
};
use stemedb_merkle::{
    MerkleTree,
    history::{History, leaf_hash},
    serialize::{deserialize_tree, serialize_tree},
};
use stemedb_rpc::{
    Control, Controlled, PeerAddress, Reloaded, Status, Tokens, Which,
    history::{Grown, Included},
    proto::v1,
    status::{
        ArchiveStatus, PauseReason, PeerState, PeerStatus, Problem, ProblemCode, ScrubStatus,
        SessionStatus, SliceStatus,
    },
};
use stemedb_simdisk::FaultyDisk;
use stemedb_store::{
    Entry, Head, Receipt,
    checkpoint::{self, CheckpointState, Covered},
    tiles::{SLOT_LEN, TILES_NAME, TileFile},
};
use stemedb_sync::{
    codec::{
        bodies,
        prefixes::{self, Prefix},
        subtrees::{Below, Place},
        varint,
    },
    message::Response,
    report::Layer,
    symbols::{self, Extension, Sketch},
};
use stemedb_wal::{
    disk::{Disk, Fingerprint},
    identity::{IDENTITY_NAME, Identity},
    log::{HoleEntry, Kind, KnownSegment, Log, NewRecord},
    raw::{Head as RecordHead, Salt, SegmentHeader, batch, segment::HEADER_LEN, segment_name},
};

use super::{
    random::noise,
    targets::{
        files,
        model::{self, Peer, Store},
        responder::{body, craft, limits},
        stub, wire,
    },
};

fn corpus_dir(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(corpus_dir(target)).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// The seeds are what the parsers accept: changes of them get past the first check.
#[test]
fn the_first_seed_of_each_corpus_parses() {
    let first = |target: &str| corpus(target).swap_remove(0);
    let (salt, position) = (files::SALT, files::POSITION);
    assert!(RecordHead::parse(&first("record"), salt, position).is_some());
    assert!(batch::BatchHeader::parse(&first("batch"), salt, position).is_some());
    assert_eq!(&first("segment")[..8], batch::MAGIC);
    assert!(SegmentHeader::parse(&corpus("batch")[1]).is_ok());
    for bytes in corpus("stub") {
        let file = stub::open(&bytes).unwrap();
        assert!(file.read_at(&mut [0; 2000], 0).unwrap() > 1000);
    }
    assert!(corpus("scrub").iter().all(|bytes| fuzzing::scrub(bytes).is_some()));
    assert!(corpus("node_key").iter().all(|bytes| fuzzing::node_key(bytes).is_some()));
    ProofFile::parse(&first("proof_file")).unwrap();
    deserialize_tree(&first("tree")).unwrap();
    let disk = FaultyDisk::new(1);
    disk.put(IDENTITY_NAME, &first("identity")).unwrap();
    Identity::load(&disk).unwrap();
    disk.put("base-00000000000000000000.ckpt", &first("checkpoint")).unwrap();
    assert!(checkpoint::load(&disk, files::STORE_ID, 0, false).unwrap().checkpoint.is_some());
    let disk = FaultyDisk::new(1);
    files::base(&disk);
    disk.put("delta-00000000000000020000.ckpt", &first("delta")).unwrap();
    let loaded = checkpoint::load(&disk, files::STORE_ID, 0, false).unwrap();
    assert_eq!(loaded.checkpoint.unwrap().file_sizes().len(), 2);

    assert!(prefixes::read(&first("prefixes"), 100).is_ok_and(|list| list.len() > 3));
    assert!(corpus("requests").iter().all(|bytes| wire::request(bytes).is_some()));
    assert!(corpus("responses").iter().all(|bytes| wire::response(bytes).is_some()));
    Tokens::parse(&first("doors")).unwrap();
}

pub(crate) fn write(target: &str, name: &str, bytes: &[u8]) {
    fs::create_dir_all(corpus_dir(target)).unwrap();
    fs::write(corpus_dir(target).join(name), bytes).unwrap();
}

#[test]
#[ignore = "writes the first corpora, if STEMEDB_WRITE_CORPUS is set"]
fn write_the_corpora() {
    if std::env::var("STEMEDB_WRITE_CORPUS").is_err() {
        return;
    }
    write_log();
    write_trees();
    write_lists();
    write_messages();
    write_answers();
    write_scripts();
    super::outside::write_all();
}

/// Records, batches, segments.
fn write_log() {
    let (salt, position) = (files::SALT, files::POSITION);
    for (n, kind) in [Kind::Entry, Kind::Hole, Kind::Heal].into_iter().enumerate() {
        let body = noise(n as u64, 20 * n);
        let len = u32::try_from(body.len()).unwrap();
        let body_sum = salt.checksum(position, &body);
        let head = RecordHead { kind, len, index: 7, time: 1 << 60, id: [0xee; 32], body_sum };
        write("record", &format!("{n}"), &[&head.encode(salt, position)[..], &body].concat());
    }
    let header = batch::BatchHeader {
        payload_len: 142,
        records: 2,
        entries: 2,
        first_index: 5,
        durable_upto: 4000,
        first_time: 1 << 60,
        last_time: (1 << 60) + 1,
    };
    write("batch", "0", &[&header.encode(salt, position)[..], &[0; 142], &batch::END].concat());
    // As the target reads them: the headers of a segment and of a batch without entries.
    let segment = files::origin();
    let segment = SegmentHeader {
        store_id: segment.store_id,
        generation: segment.generation,
        previous_sum: 0x1234_5678,
        first_index: 12,
        first_position: 8192,
        salt,
        time_before: 1 << 60,
    };
    write("batch", "1", &segment.encode());
    let healing = batch::BatchHeader { records: 1, entries: 0, first_time: 0, ..header };
    write("batch", "2", &[&healing.encode(salt, position)[..], &[7; 142], &batch::END].concat());

    // The first segment of a log, open and sealed.
    let disk = FaultyDisk::new(1);
    let shared = Arc::new(disk.clone());
    let (mut log, _) =
        Log::open(shared, &files::origin(), &files::log_options(), None, &mut |_| {}).unwrap();
    let mut placed = Vec::new();
    let first = segment_name(0, 0);
    for n in 0..12 {
        let bodies: Vec<Vec<u8>> = (0..3).map(|k| noise(n * 3 + k, 100)).collect();
        let records: Vec<NewRecord<'_>> = bodies
            .iter()
            .map(|body| NewRecord { id: *blake3::hash(body).as_bytes(), body, heals: None })
            .collect();
        log.write(&records, Timestamp::from_ntp64(1 << 60), &mut placed).unwrap();
        log.sync().unwrap();
        if n == 1 {
            write("segment", "0", &disk.contents(&first).unwrap()[HEADER_LEN..1400]);
        }
    }
    let sealed = disk.contents(&first).unwrap();
    write("segment", "1", &sealed[HEADER_LEN..]);

    // The same one dropped: with the short name of an archive, and with a long one.
    for (n, place) in ["file:///archive", &"s3://bucket/prefix".repeat(200)].iter().enumerate() {
        let dropping = FaultyDisk::new(1);
        for name in disk.list().unwrap() {
            dropping.put(&name, &disk.contents(&name).unwrap()).unwrap();
        }
        let (log, _) = Log::open(
            Arc::new(dropping.clone()),
            &files::origin(),
            &files::log_options(),
            None,
            &mut |_| {},
        )
        .unwrap();
        let hash = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
        log.reader().drop_sealed(&first, place, &[hash(&sealed)], &hash).unwrap();
        write("stub", &format!("{n}"), &dropping.contents(stub::STUB).unwrap());
    }
}

/// State of a checkpoint, with something of everything.
fn state() -> CheckpointState {
    let header = SegmentHeader {
        store_id: files::STORE_ID,
        generation: 0,
        previous_sum: 3,
        first_index: 4,
        first_position: 5,
        salt: Salt(6),
        time_before: 7,
    };
    CheckpointState {
        history: vec![[8; 32]; 3],
        holes: vec![([3; 32], HoleEntry { index: LogIndex(7), time: Timestamp::from_ntp64(8) })],
        symbols: vec![[4; 32]; 3],
        segments: vec![KnownSegment { header, batches_end: 8 }; 2],
    }
}

/// Checkpoints, tiles, proofs, identities.
fn write_trees() {
    let entry = files::entry;
    let mut tree = MerkleTree::new();
    for (n, count) in [60, 0, 1].into_iter().enumerate() {
        tree = MerkleTree::new();
        tree.insert_batch(&(0..count).map(entry).collect::<Vec<_>>()).unwrap();
        let covered = Covered { next_index: count, ..files::covered(&tree, 10_000) };
        let state = state();
        let disk = FaultyDisk::new(1);
        let found = checkpoint::write_base(
            &disk,
            &covered,
            tree.snapshot().iter(),
            &state,
            true,
            &mut |_| {},
        );
        let (name, _) = found.unwrap().file_sizes().remove(0);
        write("checkpoint", &format!("{n}"), &disk.contents(&name).unwrap());
        write("tree", &format!("{n}"), &serialize_tree(&tree).unwrap());
    }
    for (n, more) in [50, 1].into_iter().enumerate() {
        let disk = FaultyDisk::new(1);
        let base = files::base(&disk);
        let mut tree = MerkleTree::from_mapped_set(base.mapped_set(), base.covered().top_hash);
        let more =
            (0..more).map(|n| stemedb_merkle::Entry { position: 10_000 + n, ..entry(700 + n) });
        tree.insert_batch(&more.collect::<Vec<_>>()).unwrap();
        let covered = files::covered(&tree, 20_000);
        let changes = tree.snapshot().changes(10_000, 0).unwrap();
        let state = state();
        let found =
            checkpoint::write_delta(&disk, &base, 0, &covered, &changes, &state, true).unwrap();
        let (name, _) = found.file_sizes().remove(1);
        write("delta", &format!("{n}"), &disk.contents(&name).unwrap());
    }

    let disk = FaultyDisk::new(1);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let file = TileFile::open(&shared, files::STORE_ID, 0).unwrap().unwrap();
    let (mut history, mut tiles) = (History::new(), Vec::new());
    history.extend((0..600).map(|time| leaf_hash(Timestamp::from_ntp64(time), &[7; 32])), |tile| {
        tiles.push(tile);
    });
    file.append(&tiles).unwrap();
    let tiles = disk.contents(TILES_NAME).unwrap();
    write("tiles", "0", &tiles);
    write("tiles", "1", &tiles[..SLOT_LEN]);
    // A crash has left half of the second one.
    write("tiles", "2", &tiles[..SLOT_LEN + SLOT_LEN / 2]);
    let nodes = |nodes: &[[u8; 32]]| [&600_u64.to_le_bytes(), nodes.as_flattened()].concat();
    write("history", "pending", &nodes(&history.pending()));
    let mut peaks = stemedb_merkle::history::Frontier::new();
    for time in 0..600 {
        peaks.append(leaf_hash(Timestamp::from_ntp64(time), &[7; 32]));
    }
    write("history", "peaks", &nodes(peaks.peaks()));
    write("history", "empty", &[0; 8]);

    write("base64", "0", &noise(5, 99));
    let digits = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    write("base64", "1", digits.as_bytes());
    write("base64", "2", format!("{digits}\n{digits}").as_bytes());

    tree.insert_batch(&(0..1000).map(entry).collect::<Vec<_>>()).unwrap();
    for (n, id) in [entry(5).id, [7; 32]].into_iter().enumerate() {
        let proof = tree.snapshot().prove(&id).unwrap();
        write(
            "proof_file",
            &format!("{n}"),
            ProofFile { proof, root: tree.root() }.write().as_bytes(),
        );
    }
    let proof = SetProof { id: [1; 32], count: 0, siblings: Vec::new(), terminal: Terminal::Empty };
    write("proof_file", "2", ProofFile { proof, root: Root([2; 32]) }.write().as_bytes());

    let fingerprint = Fingerprint { inode: 5, birth_nanos: 6 };
    let entropy = |bytes: &mut [u8]| {
        bytes.fill(0x5a);
        Ok(())
    };
    for (n, secret) in [None, Some(&[7; 32][..])].into_iter().enumerate() {
        let disk = FaultyDisk::new(1);
        Identity::create(&disk, fingerprint, secret, entropy).unwrap();
        write("identity", &format!("{n}"), &disk.contents(IDENTITY_NAME).unwrap());
    }
}

/// The lists inside messages.
fn write_lists() {
    let ids: Vec<[u8; 32]> = (0..20).map(|n| files::entry(n).id).collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    let mut bytes = Vec::new();
    for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX >> 1, u64::MAX] {
        varint::write(value, &mut bytes);
    }
    write("varints", "0", &bytes);
    for (n, values) in [vec![300; 3], (0..40).map(|n| 3_u64.pow(n)).collect()].iter().enumerate() {
        let mut bytes = Vec::new();
        for value in values {
            varint::write(*value, &mut bytes);
        }
        write("varints", &format!("{}", n + 1), &bytes);
    }

    let of = |depth| sorted.iter().map(|id| Prefix::of(id, depth)).collect::<Vec<_>>();
    write("prefixes", "0", &prefixes::write(&of(17)));
    write("prefixes", "1", &prefixes::write(&of(256)));
    write("prefixes", "2", &prefixes::write(&[Prefix::TOP]));

    let prefix = Prefix::of(&sorted[0], 13);
    let head = |depth: u16, levels: u8, few: u8| {
        [&depth.to_le_bytes()[..], &[levels, few], &sorted[0]].concat()
    };
    let mut places = vec![Place::Empty; 8];
    (places[1], places[4]) = (Place::Many([8; 32]), Place::Many([9; 32]));
    let mut bytes = head(13, 3, 40);
    Below::Places(places).write(&prefix, &mut bytes);
    Below::Ids(vec![sorted[0]]).write(&prefix, &mut bytes);
    write("subtrees", "0", &bytes);
    let mut bytes = head(0, 5, 20);
    Below::Ids(sorted.clone()).write(&Prefix::TOP, &mut bytes);
    write("subtrees", "1", &bytes);
    let mut bytes = head(256, 2, 1);
    Below::Places(vec![Place::One(sorted[0])]).write(&Prefix::of(&sorted[0], 256), &mut bytes);
    write("subtrees", "2", &bytes);

    write("ids", "0", &[&[40, 20][..], sorted.as_flattened()].concat());
    let prefixes: Vec<u8> = sorted.iter().flat_map(|id| id[..8].to_vec()).collect();
    let suffixes: Vec<u8> = sorted.iter().flat_map(|id| id[8..].to_vec()).collect();
    write("ids", "1", &[&[40, 20][..], &prefixes, &suffixes].concat());

    let mut bytes = vec![0, 4, 20];
    for n in 0..8 {
        bodies::write(&body(n), &mut bytes);
    }
    write("bodies", "0", &bytes);
    write("bodies", "1", &bytes[..bytes.len() - 9]);

    let mut extension = Extension::new([1; 16], 0..40);
    for id in &ids {
        extension.insert(id);
    }
    // From index 0, over 20 ids, at most 100.
    let bytes = symbols::encode(&extension.into_symbols(), 0, 20);
    write("symbols", "0", &[&[0, 20, 100, 0][..], &bytes].concat());
    // From index 40, over 3 ids; and none at all.
    let mut extension = Extension::new([1; 16], 40..48);
    ids[..3].iter().for_each(|id| extension.insert(id));
    let bytes = symbols::encode(&extension.into_symbols(), 40, 3);
    write("symbols", "1", &[&[40, 3, 8, 0][..], &bytes].concat());
    write("symbols", "2", &[0, 0, 100, 0]);

    let sets = |seed: u64, [common, mine, theirs]: [u8; 3], count: u16| {
        let count = count.to_le_bytes();
        [&seed.to_le_bytes()[..], &[common, mine, theirs], &count, &[19]].concat()
    };
    write("peeler", "0", &sets(1, [200, 5, 6], 64));
    write("peeler", "1", &sets(2, [40, 0, 1], 8));
    write("peeler", "2", &sets(3, [255, 60, 90], 400));
    write("peeler", "3", &[sets(4, [80, 9, 3], 100), noise(4, 40)].concat());

    let mut sketch = Sketch::new([1; 16], 8);
    for id in &ids {
        sketch.insert(id);
    }
    write("sketch", "0", sketch.to_elements().as_flattened());
    write("sketch", "1", Sketch::new([1; 16], 1).to_elements().as_flattened());
    let mut sketch = Sketch::new([1; 16], 40);
    sketch.insert(&ids[0]);
    write("sketch", "2", sketch.to_elements().as_flattened());

    write("doors", "0", b"0123456789abcdef0123456789abcdef\r\n\n fedcba9876543210fedcba9876543210");
    for (n, address) in
        ["[::1]:80", "http://a.example/", "https://127.0.0.1:65535"].iter().enumerate()
    {
        address.parse::<PeerAddress>().unwrap();
        write("doors", &format!("{}", n + 1), address.as_bytes());
    }
}

/// All messages of sessions that use every layer, and those of the store service.
fn write_messages() {
    let mut n = 0;
    for (mine, theirs, without) in
        [(0..30, 5..40, &[][..]), (0..30, 5..40, &[Layer::Symbols][..]), (0..0, 0..9, &[][..])]
    {
        let (mut one, mut other) = (Store::new(1, None, 64), Store::new(2, None, 64));
        one.append(mine.map(body).collect());
        other.append(theirs.map(body).collect());
        craft(&mut other, 6);
        let mut config = model::config(&one, &limits());
        (config.without, config.seed) = (without.to_vec(), [3; 32]);
        let mut peer = Peer::new(other, limits());
        model::run(&mut one, config, |request| {
            write("requests", &format!("{n:03}"), &wire::request_bytes(request.clone()));
            let replies = peer.answer(request);
            for response in replies.iter().flatten() {
                let said: Response = response.clone();
                write("responses", &format!("{n:03}"), &wire::response_bytes(said));
                n += 1;
            }
            n += 1;
            replies
        });
    }
    // A zstd frame of a hundred times the same byte (RFC 8878: one RLE block).
    let frame = b"\x28\xb5\x2f\xfd\x20\x64\x23\x03\x00x".to_vec();
    let echo = Some(v1::Echo { session: vec![1; 16], snapshot: 2, request: 3, mac: vec![4; 16] });
    let end = Some(v1::BodiesEnd { processed: 1 });
    let (bytes, len) = (frame.clone(), 100);
    let bodies = v1::BodiesResponse { echo, part: 0, bytes, len, end }.encode_to_vec();
    write("responses", "zstd", &[&[4], &bodies[..]].concat());
    let envelope =
        Some(v1::Envelope { session: vec![1; 16], snapshot: 2, request: 3, mac: vec![4; 16] });
    let push = v1::PushRequest { envelope, part: 0, bytes: frame, len, last: true };
    write("requests", "zstd", &[&[6], &push.encode_to_vec()[..]].concat());

    let id = stemedb::AssertionId([7; 32]);
    let time = Timestamp::from_ntp64(1 << 40);
    let receipt =
        Receipt { id, index: LogIndex(300), time, position: Position(7), duplicate: true };
    let entry = Entry { id, index: LogIndex(1), time, len: 3, hole: true };
    let entry = v1::Entry::from((entry, Some(vec![1, 2, 3])));
    let head = Head {
        count: 1,
        set_root: Root([1; 32]),
        log_size: LogSize(2),
        log_root: Root([3; 32]),
        last_time: time,
    };
    let mut tree = MerkleTree::new();
    tree.insert_batch(&(0..100).map(files::entry).collect::<Vec<_>>()).unwrap();
    let proof = tree.snapshot().prove(&files::entry(3).id).unwrap();
    let proof = v1::ProveResponse {
        id: proof.id.to_vec(),
        count: proof.count,
        siblings: proof.siblings.concat(),
        terminal: Some(proof.id.to_vec()),
        set_root: tree.root().0.to_vec(),
    };
    let get =
        |which: Which| v1::GetRequest { which: Some((&which).into()), offset: 4 }.encode_to_vec();
    let messages = [
        (0, v1::AppendRequest { body: vec![1; 30], check: vec![2; 16] }.encode_to_vec()),
        (
            1,
            v1::AppendBatchRequest {
                bodies: vec![vec![1; 3]; 4],
                continues: true,
                check: vec![2; 16],
            }
            .encode_to_vec(),
        ),
        (2, v1::AppendBatchResponse { receipts: vec![receipt.into(); 3] }.encode_to_vec()),
        (3, get(Which::Id(id))),
        (3, get(Which::Prefix("01234567".to_owned()))),
        (3, get(Which::Index(LogIndex(9)))),
        (4, v1::GetResponse { entry: Some(entry.clone()), part: vec![5; 9] }.encode_to_vec()),
        (5, v1::HeadResponse::from(head).encode_to_vec()),
        (6, proof.encode_to_vec()),
        (7, v1::WatchResponse { entries: vec![entry; 2], log: None }.encode_to_vec()),
    ];
    for (n, (which, message)) in messages.into_iter().enumerate() {
        write("store_messages", &format!("{n}"), &[&[which], &message[..]].concat());
    }
}

/// Messages about lists, sizes, history and a node, of a store that has some of each.
fn write_answers() {
    let store = stemedb::Store::open_on(
        Arc::new(stemedb_wal::disk::MemoryDisk::new()),
        stemedb_store::store::ENVIRONMENT,
        stemedb::Options::default(),
    )
    .unwrap();
    for n in 0..9 {
        store.append(&body(n)).unwrap();
    }
    let ids: Result<Vec<_>, _> = store.ids().collect();
    let ids: Vec<u8> = ids.unwrap().iter().flat_map(|id| id.0).collect();
    let entries = store.range(..).map(|entry| v1::Entry::from((entry.unwrap(), None)));
    let entries = entries.collect();
    let included = Included::of(&store, LogIndex(3), None).unwrap();
    let grown = Grown::of(&store, LogSize(3), None).unwrap();
    let request = v1::ListEntriesRequest {
        first: 1,
        last: Some(300),
        since: Some(1 << 40),
        until: Some(1 << 41),
        limit: Some(9),
        reverse: true,
    };
    let find = v1::FindRequest { which: Some((&Which::Index(LogIndex(9))).into()) };
    let lists = [
        (0, find.encode_to_vec()),
        (1, v1::ListIdsRequest { after: Some(vec![7; 32]) }.encode_to_vec()),
        (2, v1::ListIdsResponse { ids }.encode_to_vec()),
        (3, request.encode_to_vec()),
        (4, v1::ListEntriesResponse { entries }.encode_to_vec()),
        (5, v1::StatsResponse::from(store.stats().unwrap()).encode_to_vec()),
        (6, v1::ProveInclusionResponse::from(included).encode_to_vec()),
        (7, v1::ProveConsistencyResponse::from(grown).encode_to_vec()),
        (8, v1::ProveConsistencyRequest { old_size: 3, new_size: Some(9) }.encode_to_vec()),
    ];
    for (n, (which, message)) in lists.into_iter().enumerate() {
        write("store_lists", &format!("{n}"), &[&[which], &message[..]].concat());
    }

    let peer = || "10.0.0.2:7845".to_owned();
    let controls = [
        Control::Pause,
        Control::Resume,
        Control::SyncNow(Some(peer())),
        Control::Reload,
        Control::Forget(peer()),
    ];
    let controls = controls.map(|control| (0, v1::ControlRequest::from(control).encode_to_vec()));
    let reason = Some(PauseReason::Latency);
    let keys = || vec!["tls.cert".to_owned(), "tls.key".to_owned()];
    let done = [
        Controlled::Paused,
        Controlled::Resumed { still_paused: reason },
        Controlled::Meeting { peer: Some(peer()), still_paused: reason },
        Controlled::Forgotten { peer: peer() },
        Controlled::NobodyToMeet,
        Controlled::Reloaded(Reloaded { changed: keys(), at_restart: keys() }),
    ];
    let done = done.map(|done| (1, v1::ControlResponse::from(done).encode_to_vec()));
    let status = Status {
        address: peer(),
        head: Some((&store.head().unwrap()).into()),
        not_ready: vec![Problem { code: ProblemCode::Disk, text: "full".to_owned() }],
        peers: vec![PeerStatus {
            address: peer(),
            state: PeerState::Alive,
            lag_seconds: Some(0.5),
            last_session: Some(SessionStatus { millis: 7, ..SessionStatus::default() }),
            ..PeerStatus::default()
        }],
        slices: vec![SliceStatus { prefix: "0".to_owned(), ..SliceStatus::default() }],
        scrub: Some(ScrubStatus::default()),
        archive: Some(ArchiveStatus::default()),
        ..Status::default()
    };
    let others = [
        (2, v1::StatusResponse::from(status).encode_to_vec()),
        (3, v1::CellsResponse { cells: vec![5; 64] }.encode_to_vec()),
        (4, v1::GossipRequest { frames: vec![vec![1; 20]; 2] }.encode_to_vec()),
    ];
    let messages = controls.into_iter().chain(done).chain(others);
    for (n, (which, message)) in messages.enumerate() {
        write("node_messages", &format!("{n:02}"), &[&[which], &message[..]].concat());
    }
}

/// Sessions: honest ones of each kind first, then such as chance makes.
fn write_scripts() {
    for kind in 0..8_u8 {
        let layers = kind << 5;
        let set_up = [30 + kind, 10, 3 * kind, 5, layers | ((kind % 4) << 3), 2];
        write("initiator", &format!("honest-{kind}"), &set_up);
        let choices = noise(u64::from(kind), 150);
        write("initiator", &format!("liar-{kind}"), &[&set_up[..], &choices].concat());
        let choices = noise(100 + u64::from(kind), 400);
        // A session first, whose set differs.
        let open = [10, kind, 0, 0, 5];
        let open = [&open[..], &[9; 32], &[8, 0]].concat();
        write("responder", &format!("{kind}"), &[&open[..], &choices].concat());
    }
}
