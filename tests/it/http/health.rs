//! Health endpoints, and stopping.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use stemedb::{Environment, Options, Store, node::http::HttpOptions};
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Target};
use stemedb_store::clock::NTP64;

use super::{
    node::Serving,
    request::{Answer, ask, connect, get, send},
};

/// Times so long that what is closed or answered in a test was not so for being late.
fn without_time_limits() -> HttpOptions {
    let hour = Duration::from_secs(3600);
    HttpOptions::default().idle_max(hour).answer_time_max(hour)
}

/// Asks for a path as a load balancer does: HTTP/1.0 and no host.
fn probe(address: SocketAddr, path: &str) -> Answer {
    send(address, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
}

#[test]
fn a_node_that_is_well_says_so() {
    let serving = Serving::start(["one"]);
    for path in ["/livez", "/readyz"] {
        let answer = get(serving.address, path);
        assert_eq!((answer.code, answer.body.as_str()), (200, "ok\n"), "{path}");
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        let head = ask(serving.address, "HEAD", path, "Host: localhost\r\n");
        assert_eq!((head.code, head.body.as_str()), (200, ""));
    }
}

/// A node whose disk is nearly full.
fn short_of_room(dir: &tempfile::TempDir) -> Serving {
    let store = Store::open(dir.path(), Options::default()).unwrap();
    Serving::short_of_room(store, HttpOptions::default())
}

#[test]
fn a_node_with_problems_lives_but_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let serving = short_of_room(&dir);
    let answer = get(serving.address, "/readyz");
    assert_eq!(answer.code, 503);
    let text = &answer.body;
    assert!(text.starts_with("disk: the disk has ") && text.ends_with(": make room\n"), "{text}");
    assert_eq!(get(serving.address, "/livez").code, 200);
    let text = get(serving.address, "/metrics").body;
    assert!(text.contains("\nstemedb_ready 0.0\n"), "{text}");
    assert!(text.contains("\nstemedb_problem{code=\"disk\"} 1.0\n"), "{text}");
    assert!(text.contains("\nstemedb_problem{code=\"writer\"} 0.0\n"), "{text}");
}

#[test]
fn a_node_whose_trees_fail_shows_no_count_and_no_root() {
    let dir = tempfile::tempdir().unwrap();
    let serving = short_of_room(&dir);
    serving.node.store().append(b"held").unwrap();
    assert_eq!(get(serving.address, "/status.json").json()["head"]["count"], 1);
    serving.break_trees();
    let status = get(serving.address, "/status.json").json();
    assert_eq!(status["head"], serde_json::Value::Null, "{status}");
    assert_eq!(get(serving.address, "/api/head").code, 500);
    let lines = get(serving.address, "/readyz").body;
    let codes: Vec<_> = lines.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(codes, ["damage", "disk"], "a problem a line: {lines}");
    assert_eq!(get(serving.address, "/livez").code, 200);
    let metrics = get(serving.address, "/metrics");
    assert_eq!(metrics.code, 200, "it is the metrics that raise the alarm");
    assert!(metrics.body.contains("\nstemedb_problem{code=\"damage\"} 1.0\n"), "{metrics:?}");
    assert!(!metrics.body.contains("\nstemedb_store_memory_bytes "), "{metrics:?}");
}

#[test]
fn probes_are_answered_whatever_host_they_name() {
    let serving = Serving::start(["one"]);
    let address = serving.address;
    for path in ["/livez", "/readyz"] {
        assert_eq!(probe(address, path).code, 200, "{path}");
        for fields in [
            "",
            "Host:\r\n",
            "Host: node-1.example\r\n",
            "Host: stemedb:7846\r\n",
            "Host: one.example\r\nHost: two.example\r\n",
        ] {
            let answer = ask(address, "GET", path, fields);
            assert_eq!((answer.code, answer.body.as_str()), (200, "ok\n"), "{path} {fields:?}");
        }
        let absolute = format!("http://node-1.example{path}");
        assert_eq!(ask(address, "GET", &absolute, "Host: node-1.example\r\n").code, 200);
    }
    assert_eq!(probe(address, "/status.json").code, 400);
}

#[test]
fn an_unknown_host_gets_no_particulars_of_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    let serving = short_of_room(&dir);
    let answer = probe(serving.address, "/readyz");
    assert_eq!((answer.code, answer.body.as_str()), (503, "disk\n"));
    let answer = ask(serving.address, "GET", "/readyz", "Host: evil.example\r\n");
    assert_eq!((answer.code, answer.body.as_str()), (503, "disk\n"));
    let known = get(serving.address, "/readyz");
    assert!(known.body.starts_with("disk: the disk has "), "{}", known.body);
}

#[test]
fn idle_connections_and_half_requests_give_way_to_probes() {
    let serving = Serving::with(["one"], without_time_limits());
    let address = serving.address;
    let mut held: Vec<_> = (0..64).map(|_| connect(address)).collect();
    assert_eq!(probe(address, "/livez").code, 200);
    held.extend((0..64).map(|_| {
        let mut half = connect(address);
        half.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
        half
    }));
    for _ in 0..20 {
        for path in ["/livez", "/readyz"] {
            assert_eq!(probe(address, path).code, 200);
        }
    }
    // The first one made was the first to go.
    let mut nothing = Vec::new();
    // What was not read may have the system reset the connection.
    if let Err(error) = held[0].read_to_end(&mut nothing) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(nothing.is_empty());
}

#[test]
fn where_all_connections_are_in_use_others_are_for_one_request() {
    let options = without_time_limits().connections_max(2).listeners_max(3);
    let serving = Serving::with(["one"], options);
    let address = serving.address;
    let follow = || {
        let mut stream = connect(address);
        write!(stream, "GET /api/log/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (stream, String::from_utf8_lossy(&head).into_owned())
    };
    let followers = [follow(), follow()];
    assert!(followers.iter().all(|(_, head)| head == "HTTP/1.1 200"));
    // There is room for one more that follows, but not for its connection.
    assert_eq!(follow().1, "HTTP/1.1 503");
    assert_eq!(probe(address, "/livez").code, 200);
    let mut stream = connect(address);
    let request = "GET /api/head HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Sent twice, answered once.
    stream.write_all(request.repeat(2).as_bytes()).unwrap();
    let mut answer = String::new();
    // What was not read any more may have the system reset the connection.
    let _ = stream.read_to_string(&mut answer);
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    // One that asks nothing does not stay.
    let mut silent = connect(address);
    if let Err(error) = silent.read_to_end(&mut Vec::new()) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    drop(followers);
}

#[test]
fn the_status_is_that_of_the_node() {
    let serving = Serving::start(["one", "two"]);
    let answer = get(serving.address, "/status.json");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let status = answer.json();
    assert_eq!(status["head"]["count"], 2);
    assert_eq!(status["peers"][0]["state"], "named");
    assert_eq!(status["peers"][0]["address"], serving.peer_address);
    assert_eq!(status["slices"].as_array().unwrap().len(), 16);
}

#[test]
fn stopping_ends_what_is_open() {
    let mut serving = Serving::start(["one"]);
    let address = serving.address;
    let mut follower = connect(address);
    write!(follower, "GET /api/log/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut head = [0; 15];
    follower.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let idle = connect(address);
    let mut half = connect(address);
    half.write_all(b"GET / HTT").unwrap();
    serving.stop();
    let mut rest = Vec::new();
    follower.read_to_end(&mut rest).unwrap();
    assert!(std::net::TcpStream::connect(address).is_err(), "nothing listens any more");
    drop((idle, half));
}

#[test]
fn a_node_that_can_append_no_more_does_not_live() {
    let disk = FaultyDisk::new(1);
    let clock = || NTP64(1_763_750_000 << 32);
    let world = Environment { clock, ..stemedb_store::store::ENVIRONMENT };
    let store = Store::open_on(Arc::new(disk.clone()), world, Options::default()).unwrap();
    store.append(b"before").unwrap();
    let serving = Serving::over(store, HttpOptions::default());
    assert_eq!(get(serving.address, "/livez").code, 200);
    disk.inject(Fault {
        target: Target::Only(Operation::Sync),
        after: 0,
        from_then_on: false,
        error: ErrorKind::Other,
        kind: FaultKind::Failed,
    });
    assert!(serving.node.store().append(b"after").is_err());
    let answer = get(serving.address, "/livez");
    assert_eq!(answer.code, 503);
    assert!(answer.body.contains("until the node is started again"), "{}", answer.body);
    assert!(get(serving.address, "/metrics").body.contains("\nstemedb_store_writer_failed 1.0\n"));
    assert_eq!(get(serving.address, "/api/head").json()["count"], 1, "reading goes on");
}
