//! What is not answered: wrong hosts, wrong methods, too much of anything.

use std::{
    io::{Read, Write},
    time::Duration,
};

use stemedb::node::http::HttpOptions;

use super::{
    node::Serving,
    request::{ask, connect, get, send},
};

const PATHS: [&str; 6] = ["/", "/metrics", "/status.json", "/livez", "/api/head", "/nowhere"];
/// Those that are answered to known hosts only.
const GUARDED: [&str; 5] = ["/", "/metrics", "/status.json", "/api/head", "/livez/"];

#[test]
fn only_known_hosts_are_answered() {
    let options = HttpOptions::default().hosts(vec!["node-1.example".into()]);
    let serving = Serving::with(["one"], options);
    let address = serving.address;
    for path in GUARDED {
        for host in ["evil.example", "evil.example:7846", "127.0.0.1.evil.example", "", "[::1"] {
            let answer = ask(address, "GET", path, &format!("Host: {host}\r\n"));
            assert_eq!(answer.code, 421, "{path} {host}");
            assert!(answer.body.contains("host name"), "{answer:?}");
        }
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]:7846", "NODE-1.example"] {
        let fields = format!("Host: {host}\r\n");
        assert_eq!(ask(address, "GET", "/api/head", &fields).code, 200, "{host}");
    }
    assert_eq!(ask(address, "GET", "/api/head", "").code, 400);
    let two = "Host: localhost\r\nHost: evil.example\r\n";
    assert_eq!(ask(address, "GET", "/api/head", two).code, 400);
    let absolute = ask(address, "GET", "http://evil.example/api/head", "Host: localhost\r\n");
    assert_eq!(absolute.code, 421);
}

#[test]
fn nothing_can_be_changed() {
    let serving = Serving::start(["one"]);
    for path in PATHS {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let answer = ask(serving.address, method, path, "Host: localhost\r\n");
            assert_eq!(answer.code, 405, "{method} {path}");
            assert_eq!(answer.field("allow"), Some("GET, HEAD"));
        }
    }
    let body = "Host: localhost\r\nContent-Length: 5\r\n";
    assert_eq!(ask(serving.address, "GET", "/livez", body).code, 413);
    let chunked = "Host: localhost\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(ask(serving.address, "GET", "/livez", chunked).code, 413);
}

#[test]
fn every_answer_keeps_other_pages_out() {
    let serving = Serving::start(["one"]);
    for path in PATHS {
        let answer = get(serving.address, path);
        let policy = answer.field("content-security-policy").unwrap();
        for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.field("cross-origin-resource-policy"), Some("same-origin"));
        assert_eq!(answer.field("access-control-allow-origin"), None);
        assert_eq!(answer.field("set-cookie"), None);
        assert!(answer.field("cache-control").is_some());
    }
}

#[test]
fn unknown_paths_and_malformed_requests_differ() {
    let serving = Serving::start(["one"]);
    let id = "0".repeat(64);
    for (path, code) in [
        ("/nowhere", 404),
        ("/console/nothing.js", 404),
        ("/console/../Cargo.toml", 404),
        ("/console/%2e%2e%2fhttp.rs", 404),
        ("/api/", 404),
        ("/api/log?from=x", 400),
        ("/api/log?limit=-1", 400),
        ("/api/log?other=1", 400),
        ("/api/log/live?from=18446744073709551616", 400),
        ("/api/assertion/xyz", 400),
        ("/api/assertion/012", 400),
        ("/api/assertion/0123", 404),
        ("/api/assertion/%00", 400),
        ("/api/assertion/%ff", 400),
        ("/api/cells?depth=9", 400),
        ("/api/cells/256", 400),
        ("/api/cells/-1", 400),
        ("/api/cells/4096?depth=12", 400),
        ("/api/compare", 400),
        ("/api/compare?peer=evil.example:1", 404),
        ("/api/compare?peer=localhost:1", 502),
    ] {
        let answer = get(serving.address, path);
        assert_eq!(answer.code, code, "{path}: {answer:?}");
        assert!(answer.json()["error"].is_string(), "{path}");
    }
    assert_eq!(get(serving.address, &format!("/api/assertion/{id}")).code, 404);
    assert_eq!(get(serving.address, &format!("/api/proof/{id}")).code, 200);
}

#[test]
fn long_requests_are_cut() {
    let serving = Serving::start(["one"]);
    let address = serving.address;
    let long = "x".repeat(17 << 10);
    let answer = ask(address, "GET", "/livez", &format!("Host: localhost\r\nX: {long}\r\n"));
    assert_eq!(answer.code, 431);
    assert_eq!(get(address, &format!("/{}", "x".repeat(2000))).code, 414);
    // More than a connection takes before it amounts to a request.
    let endless = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(200 << 10));
    let answer = send(address, endless.as_bytes());
    assert!([0, 431].contains(&answer.code), "{answer:?}");
    let many = (0..2000).map(|n| format!("X{n}: 1\r\n")).collect::<Vec<_>>().concat();
    let answer = ask(address, "GET", "/livez", &format!("Host: localhost\r\n{many}"));
    assert!([0, 431].contains(&answer.code), "{answer:?}");
    let answer =
        send(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP at all\r\n\r\n");
    assert!([0, 400].contains(&answer.code), "{answer:?}");
    assert_eq!(get(address, "/livez").code, 200);
}

#[test]
fn whoever_asks_nothing_is_cut_off() {
    let options = HttpOptions::default().idle_max(Duration::from_millis(300));
    let serving = Serving::with(["one"], options);
    let mut silent = connect(serving.address);
    let mut slow = connect(serving.address);
    let mut rest = Vec::new();
    for byte in b"GET /livez HTTP/1.1\r\n" {
        // One byte now and then is no request.
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = slow.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    let _ = silent.read_to_end(&mut rest);
    assert_eq!(get(serving.address, "/livez").code, 200);
}

#[test]
fn connections_and_followers_are_counted() {
    let options =
        HttpOptions::default().connections_max(4).listeners_max(2).idle_max(Duration::from_secs(2));
    let serving = Serving::with(["one"], options);
    let follow = || {
        let mut stream = connect(serving.address);
        write!(stream, "GET /api/log/live HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        (stream, String::from_utf8_lossy(&head).into_owned())
    };
    let first = follow();
    let second = follow();
    assert_eq!((first.1.as_str(), second.1.as_str()), ("HTTP/1.1 200", "HTTP/1.1 200"));
    let third = follow();
    assert_eq!(third.1, "HTTP/1.1 503");
    drop((first, third));
    // The place of one that went away is free once the server has noticed.
    let free = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        follow().1 == "HTTP/1.1 200"
    });
    assert!(free);
    drop(second);
}

/// Its streams would pass by the limits of connections and requests.
#[test]
fn http_2_is_closed_on() {
    let serving = Serving::start(["one"]);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    for step in [1, 3, preface.len()] {
        let mut stream = connect(serving.address);
        // So that parts come by themselves.
        stream.set_nodelay(true).unwrap();
        for part in preface.chunks(step).chain([&settings[..]]) {
            // It may be closed by now.
            let _ = stream.write_all(part);
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        // Closed at once, or after the refusal that HTTP/1 has for an unknown version.
        let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 ");
        assert!(refused, "in steps of {step}: {}", String::from_utf8_lossy(&answer));
    }
    // What begins alike is a request like others.
    assert_eq!(send(serving.address, b"PRY * HTTP/1.1\r\n\r\n").code, 400);
}
