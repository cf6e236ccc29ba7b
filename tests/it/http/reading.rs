//! The reading API.

use std::{
    io::{BufRead, BufReader, Write},
    time::Duration,
};

use stemedb::{AssertionId, LogIndex, Presence, ProofFile};

use super::{
    node::Serving,
    request::{connect, get},
};

fn bodies(count: u32) -> Vec<String> {
    (0..count).map(|n| format!("assertion {n}")).collect()
}

#[test]
fn head_and_growth_are_those_of_the_store() {
    let serving = Serving::start(bodies(30));
    let head = serving.node.store().head().unwrap();
    let shown = get(serving.address, "/api/head").json();
    assert_eq!(shown["count"], 30);
    assert_eq!(shown["log_size"], 30);
    assert_eq!(shown["set_root"], head.set_root.to_string());
    assert_eq!(shown["log_root"], head.log_root.to_string());
    let mut growth = get(serving.address, "/api/growth").json();
    while growth["counts"].as_array().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
        growth = get(serving.address, "/api/growth").json();
    }
    let samples = |field: &str| growth[field].as_array().unwrap().clone();
    let counts = samples("counts");
    assert!(counts.len() <= 720);
    assert_eq!(counts[0], 30);
    assert!(samples("log_bytes")[0].as_str().unwrap().parse::<u64>().unwrap() > 30);
    assert_eq!(samples("append_p99_seconds").len(), counts.len());
    let disk = get(serving.address, "/status.json").json()["disk"].clone();
    assert!(disk["total"].as_str().unwrap().parse::<u64>().unwrap() > 0, "{disk}");
    assert_eq!(growth["every_seconds"], 5);
}

#[test]
fn the_log_is_shown_in_parts_and_from_its_end() {
    let serving = Serving::start(bodies(300));
    let indexes = |path: &str| -> Vec<u64> {
        let part = get(serving.address, path).json();
        assert_eq!(part["size"], 300);
        assert_eq!(part["damaged"], false);
        let entries = part["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["index"].as_u64().unwrap()).collect()
    };
    assert_eq!(indexes("/api/log"), (275..300).collect::<Vec<_>>());
    assert_eq!(indexes("/api/log?from=7&limit=3"), [7, 8, 9]);
    assert_eq!(indexes("/api/log?from=298&limit=9"), [298, 299]);
    assert!(indexes("/api/log?from=18446744073709551615").is_empty());
    assert_eq!(indexes("/api/log?limit=100000").len(), 200);
    let first = &get(serving.address, "/api/log?from=0&limit=1").json()["entries"][0];
    assert_eq!(first["preview"], "assertion 0");
    assert_eq!(first["len"], 11);
    assert_eq!(first["hole"], false);
}

#[test]
fn assertions_are_found_by_id_and_by_prefix() {
    let long = "ä".repeat(40 << 10);
    let serving = Serving::start([
        b"<img src=x onerror=alert(1)>".to_vec(),
        vec![0xff, 0, 1],
        Vec::new(),
        long.clone().into_bytes(),
    ]);
    let find = |body: &[u8]| {
        let id = AssertionId(*blake3::hash(body).as_bytes()).to_string();
        let whole = get(serving.address, &format!("/api/assertion/{id}"));
        let short = get(serving.address, &format!("/api/assertion/{}", &id[..8]));
        assert_eq!(whole.body, short.body);
        assert_eq!(whole.field("content-type"), Some("application/json"));
        let found = whole.json();
        assert_eq!(found["id"], id);
        assert_eq!(found["len"], body.len());
        found
    };
    assert_eq!(find(b"<img src=x onerror=alert(1)>")["text"], "<img src=x onerror=alert(1)>");
    let bytes = find(&[0xff, 0, 1]);
    assert_eq!((&bytes["text"], &bytes["hex"]), (&serde_json::Value::Null, &"ff0001".into()));
    assert_eq!(find(b"")["text"], "");
    let cut = find(long.as_bytes());
    assert_eq!(cut["shown"], 64 << 10);
    assert_eq!(cut["text"].as_str().unwrap().len(), 64 << 10);
    let preview = get(serving.address, "/api/log?from=3&limit=1").json();
    assert_eq!(preview["entries"][0]["preview"], serde_json::Value::Null, "too long to be read");
}

#[test]
fn proofs_are_files_that_verify() {
    let serving = Serving::start(bodies(100));
    let store = serving.node.store();
    let held = store.entry(LogIndex(5)).unwrap().unwrap().id;
    for (id, presence) in [(held, Presence::Present), (AssertionId([7; 32]), Presence::Absent)] {
        let answer = get(serving.address, &format!("/api/proof/{id}")).json();
        let file = ProofFile::parse(answer["file"].as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(file.proof.id, id.0);
        assert_eq!(file.root, store.root().unwrap());
        assert_eq!(file.proof.verify(&store.root().unwrap()), Ok(presence));
        assert_eq!(answer["present"], presence == Presence::Present);
    }
}

#[test]
fn cells_that_differ_are_reported() {
    let serving = Serving::start(bodies(2000));
    serving.fill_peer(|index| index % 500 == 3);
    let store = serving.node.store();
    let only_there = serving.peer.append(b"only there").unwrap().id;
    let mut missing: Vec<AssertionId> =
        [3, 503, 1003, 1503].map(|index| store.entry(LogIndex(index)).unwrap().unwrap().id).into();
    missing.push(only_there);
    for (depth, shift) in [(8, 8), (12, 4)] {
        let path = format!("/api/compare?peer={}&depth={depth}", serving.peer_address);
        let answer = get(serving.address, &path).json();
        let cell_of = |id: &AssertionId| u16::from_be_bytes([id.0[0], id.0[1]]) >> shift;
        let mut differing: Vec<u16> = missing.iter().map(cell_of).collect();
        differing.sort_unstable();
        differing.dedup();
        assert_eq!(answer["differing"], serde_json::json!(differing));
        let cells = get(serving.address, &format!("/api/cells?depth={depth}")).json();
        assert_eq!(cells["hashes"].as_array().unwrap().len(), 1 << depth);
        let cell = cell_of(&missing[0]);
        let counted = get(serving.address, &format!("/api/cells/{cell}?depth={depth}")).json();
        let here = store.ids().map(Result::unwrap).filter(|id| cell_of(id) == cell).count();
        assert_eq!(counted["count"], here);
    }
    serving.fill_peer(|_| false);
    store.append(b"only there").unwrap();
    let answer =
        get(serving.address, &format!("/api/compare?peer={}", serving.peer_address)).json();
    assert_eq!(answer["differing"], serde_json::json!([]));
}

#[test]
fn the_log_is_followed_as_it_grows() {
    let serving = Serving::start(bodies(3));
    let mut stream = connect(serving.address);
    write!(stream, "GET /api/log/live?from=1 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut next = || -> serde_json::Value {
        let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
        serde_json::from_str(&data.unwrap()).unwrap()
    };
    let indexes = |part: &serde_json::Value| -> Vec<u64> {
        let entries = part["entries"].as_array().unwrap();
        entries.iter().map(|entry| entry["index"].as_u64().unwrap()).collect()
    };
    assert_eq!(indexes(&next()), [1, 2]);
    std::thread::sleep(Duration::from_millis(20));
    serving.node.store().append(b"<script>alert(1)</script>\n\ndata: forged").unwrap();
    let part = next();
    assert_eq!(indexes(&part), [3]);
    assert_eq!(part["entries"][0]["preview"], "<script>alert(1)</script>\n\ndata: forged");
    serving.node.store().append_batch((0..500).map(|n| format!("more {n}"))).unwrap();
    let mut last = next();
    while last["size"] != 504 {
        last = next();
    }
    assert!(indexes(&last).len() <= 25);
    assert_eq!(indexes(&last).last(), Some(&503));
}
