//! Health endpoints, and stopping.

use std::{
    io::{ErrorKind, Read, Write},
    sync::Arc,
};

use stemedb::{
    Options, Store, World,
    node::{http::HttpOptions, status::Problem},
};
use stemedb_wal::{
    clock::NTP64,
    disk::{Fault, FaultyDisk, Flavour, Operation, Target},
};

use super::{
    node::Serving,
    request::{ask, connect, get},
};

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

#[test]
fn a_node_with_problems_lives_but_is_not_ready() {
    let serving = Serving::start(["one"]);
    *serving.node.problems.lock().unwrap() = vec![
        Problem { code: "disk", text: "nearly full: free some".into() },
        Problem { code: "damage", text: "3 bodies are lost".into() },
    ];
    let answer = get(serving.address, "/readyz");
    assert_eq!(answer.code, 503);
    assert_eq!(answer.body, "disk: nearly full: free some\ndamage: 3 bodies are lost\n");
    assert_eq!(get(serving.address, "/livez").code, 200);
    let text = get(serving.address, "/metrics").body;
    assert!(text.contains("\nstemedb_ready 0.0\n"), "{text}");
    assert!(text.contains("\nstemedb_problem{code=\"disk\"} 1.0\n"), "{text}");
    assert!(text.contains("\nstemedb_problem{code=\"writer\"} 0.0\n"), "{text}");
}

#[test]
fn the_status_is_that_of_the_node() {
    let serving = Serving::start(["one", "two"]);
    let answer = get(serving.address, "/status.json");
    assert_eq!(answer.field("content-type"), Some("application/json"));
    let status = answer.json();
    assert_eq!(status["head"]["count"], 2);
    assert_eq!(status["peers"][0]["state"], "alive");
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
    let world = World {
        clock: || NTP64(1_763_750_000 << 32),
        entropy: |bytes| getrandom::fill(bytes).map_err(std::io::Error::other),
    };
    let store = Store::open_on(Arc::new(disk.clone()), world, Options::default()).unwrap();
    store.append(b"before").unwrap();
    let serving = Serving::over(store, HttpOptions::default());
    assert_eq!(get(serving.address, "/livez").code, 200);
    disk.inject(Fault {
        target: Target::Only(Operation::Sync),
        after: 0,
        from_then_on: false,
        error: ErrorKind::Other,
        flavour: Flavour::Failed,
    });
    assert!(serving.node.store.append(b"after").is_err());
    let answer = get(serving.address, "/livez");
    assert_eq!(answer.code, 503);
    assert!(answer.body.contains("until the node is started again"), "{}", answer.body);
    assert!(get(serving.address, "/metrics").body.contains("\nstemedb_store_writer_failed 1.0\n"));
    assert_eq!(get(serving.address, "/api/head").json()["count"], 1, "reading goes on");
}
