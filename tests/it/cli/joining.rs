//! What a node and its peers say when they do not come together.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::authority::Authority;
use super::binary::Place;
use super::node::Running;

/// A node that answers over HTTP, its address, and that of its console.
fn with_console(place: &Place, flags: &[&str]) -> (Running, String, String) {
    let any = ["node", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json"];
    let node = Running::of(place.command(&[&any[..], flags].concat()));
    let ready: Value = serde_json::from_str(&node.ready).unwrap();
    let console = ready["http"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let address = ready["address"].as_str().unwrap().to_owned();
    (node, address, console)
}

/// Body of an answer over HTTP.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let held = (0..1200).any(|_| {
        let holds = holds();
        if !holds {
            std::thread::sleep(Duration::from_millis(50));
        }
        holds
    });
    assert!(held, "not {what}");
}

fn peers(place: &Place, address: &str) -> Vec<Value> {
    let status = place.run(&["peers", address, "--json"]).ok();
    let status: Value = serde_json::from_str(status.text()).unwrap();
    status["peers"].as_array().unwrap().clone()
}

#[test]
fn it_says_why_it_cannot_join_at_once_and_so_does_the_other_side() {
    let place = Place::new();
    place.write("s1", "the secret of one cluster");
    place.write("s2", "the secret of another one");
    let authority = Authority::new(&place, "authority");
    authority.issue(&place, "a");
    let (secret, secret_address, console) =
        with_console(&place, &["--store", "first", "--secret-file", "s1"]);
    let tls = ["--store", "tls", "--tls-cert", "a.pem", "--tls-key", "a.key"];
    let tls = Running::start(&place, &tls);
    let join = |store: &str, address: &str, more: &[&str], says: &str| {
        let flags = ["--store", store, "--join", address];
        let node = Running::start(&place, &[&flags[..], more].concat());
        let said = node.says("cannot join the cluster at this address");
        assert!(said.contains("WARN") && said.contains(address), "{said}");
        assert!(said.contains(says), "not {says:?}: {said}");
    };
    join("a", "127.0.0.1:1", &[], "connection refused: nothing listens there");
    join("b", "nosuch.invalid", &[], "no such host");
    join("c", &secret_address, &["--secret-file", "s2"], "secret");
    join("d", tls.address(), &[], "the server wants TLS: use https://");
    join("e", &console, &[], "before it said anything");
    join(
        "f",
        &secret_address,
        &["--secret-file", "s1", "--tls-ca", "authority.pem"],
        "use http://",
    );
    let said = secret.says("a client is refused");
    assert!(said.contains("WARN") && said.contains("127.0.0.1"), "{said}");
    assert!(said.contains("reason=secret"), "{said}");
    assert!(secret.says("a client is refused").contains("reason=tls_unwanted"));
    assert!(tls.says("a client is refused").contains("reason=tls_wanted"));
    let metrics = get(&console, "/metrics");
    assert!(!metrics.contains("stemedb_clients_rejected_total{reason=\"secret\"} 0"), "{metrics}");
    assert!(metrics.contains("stemedb_clients_rejected_total{reason=\"secret\"} "), "{metrics}");
}

#[test]
fn certificates_and_tokens_that_do_not_fit_are_logged_on_both_sides() {
    let place = Place::new();
    let (ours, theirs) = (Authority::new(&place, "ours"), Authority::new(&place, "theirs"));
    for (authority, file) in [(&ours, "a"), (&ours, "b"), (&theirs, "c")] {
        authority.issue(&place, file);
    }
    place.write("tokens", "0123456789abcdef0123456789abcdef\n");
    let flags = |store, file: &str, ca: &str| {
        let all = ["--store", store, "--tls-cert", file, "--tls-key"];
        let mut all: Vec<String> = all.map(str::to_owned).to_vec();
        all.push(file.replace(".pem", ".key"));
        for (flag, value) in [("--client-ca", "ours.pem"), ("--tls-ca", ca)] {
            all.extend([flag.to_owned(), value.to_owned()]);
        }
        all
    };
    let start = |flags: Vec<String>| {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Running::start(&place, &flags)
    };
    let mut first = flags("first", "a.pem", "ours.pem");
    first.extend(["--token-file", "tokens"].map(str::to_owned));
    let first = start(first);
    for (store, file, ca, says, reason) in [
        ("b", "b.pem", "theirs.pem", "another authority", "reason=server_certificate"),
        ("c", "c.pem", "ours.pem", "refuses this side's certificate", "reason=client_certificate"),
        ("d", "b.pem", "ours.pem", "wants a token", "reason=token"),
    ] {
        let mut flags = flags(store, file, ca);
        flags.extend(["--join".to_owned(), first.address().to_owned()]);
        let node = start(flags);
        let said = node.says("cannot join the cluster at this address");
        assert!(said.contains(says), "not {says:?}: {said}");
        let said = first.says("a client is refused");
        assert!(said.contains(reason), "not {reason:?}: {said}");
    }
}

#[test]
fn where_it_did_not_join_is_shown_until_it_does() {
    let place = Place::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let free = free.to_string();
    let (node, address, console) = with_console(&place, &["--store", "a", "--join", &free]);
    node.says("cannot join the cluster at this address");
    let shown = peers(&place, &address);
    assert_eq!(
        (&shown[0]["address"], &shown[0]["state"]),
        (&free.clone().into(), &"unreached".into())
    );
    assert!(shown[0]["remark"].as_str().unwrap().contains("connection refused"), "{shown:?}");
    let text = place.run(&["peers", &address]).ok();
    assert!(text.text().contains("unreached"), "{text:?}");
    assert!(text.text().contains("connection refused: nothing listens there"), "{text:?}");
    let ready = get(&console, "/readyz");
    assert!(ready.starts_with("ok\njoined: no\n") && ready.contains(&free), "{ready}");
    let status = place.run(&["status", &address]).ok();
    assert!(status.text().contains("JOINED"), "{status:?}");
    assert!(get(&console, "/metrics").contains("\nstemedb_joined 0.0\n"));
    let failures = get(&console, "/metrics");
    let line =
        failures.lines().find(|line| line.contains("join_failures_total{reason=\"refused\""));
    assert!(line.is_some_and(|line| !line.ends_with(" 0")), "{line:?}");

    let other = ["node", "--store", "b", "--listen", &free, "--http", "none"];
    let _other = Running::of(place.command(&other));
    until("joined", || get(&console, "/readyz") == "ok\njoined: yes\n");
    assert_eq!(peers(&place, &address)[0]["state"], "alive");
    assert!(get(&console, "/metrics").contains("\nstemedb_joined 1.0\n"));
}

#[test]
fn what_a_restart_can_not_fix_ends_with_2() {
    let place = Place::new();
    let authority = Authority::new(&place, "authority");
    authority.issue_for(&place, "old", 2001, 2002);
    authority.issue_for(&place, "early", 2090, 2091);
    authority.issue(&place, "good");
    authority.issue(&place, "other");
    place.write("secret", "the secret of a cluster");
    place.write("config-old.toml", "[tls]\ncert = \"old.pem\"\nkey = \"old.key\"\n");
    place.run(&["init", "--store", "s", "--secret-file", "secret"]).ok();
    let node = |flags: &[&str], says: &str| {
        let any = ["node", "--listen", "127.0.0.1:0", "--http", "none"];
        place.run(&[&any[..], flags].concat()).fails(2, says);
        if !flags.contains(&"--store") {
            place.run(&[&["config", "--check"], flags].concat()).fails(2, says);
        }
    };
    node(&["--tls-cert", "old.pem", "--tls-key", "old.key"], "expired on 2002-01-01");
    node(&["--config", "config-old.toml"], "expired on 2002-01-01");
    node(&["--tls-cert", "early.pem", "--tls-key", "early.key"], "not valid before 2090-01-01");
    node(&["--tls-cert", "good.pem", "--tls-key", "other.key"], "must be a pair");
    node(&["--tls-cert", "good.pem"], "tls.cert is of no use without tls.key");
    node(&["--tls-cert", "good.pem", "--tls-key", "good.pem"], "not a private key");
    node(&["--tls-ca", "good.key"], "no certificate");
    node(&["--store", "s"], "secret");
    place.run(&["serve", "--store", "s"]).fails(2, "--secret-file");
    place.write("wrong", "the secret of another cluster");
    node(&["--store", "s", "--secret-file", "wrong"], "secret");
    let elsewhere = ["node", "--listen", "192.0.2.1:0", "--allow-plaintext", "--secret-file"];
    place.run(&[&elsewhere[..], &["secret", "--store", "s"]].concat()).fails(2, "cannot listen");
    assert!(!place.path(".stemedb").exists(), "nothing was touched");
}

#[test]
fn certificates_and_tokens_are_taken_on_by_a_reload() {
    let place = Place::with("a\n");
    let (old, new) = (Authority::new(&place, "old"), Authority::new(&place, "new"));
    old.issue(&place, "node");
    place.write("tokens", "the-first-token-of-a-client\n");
    place.write("next", "the-second-token-of-a-client\n");
    let flags = ["--tls-cert", "node.pem", "--tls-key", "node.key", "--token-file", "tokens"];
    let node = Running::start(&place, &flags);
    let peer = format!("https://{}", node.address());
    let append = |ca: &str, token: &str| {
        let to = ["append", "--to", &peer, "--tls-ca", ca, "--token-file", token];
        place.run_with(&to, "b\n")
    };
    append("old.pem", "tokens").ok();
    place.write("first", std::fs::read(place.path("tokens")).unwrap());
    // Half of a pair is not taken, and all goes on.
    let key = std::fs::read(place.path("node.key")).unwrap();
    new.issue(&place, "node");
    let new_key = std::fs::read(place.path("node.key")).unwrap();
    place.write("node.key", key);
    node.signal("-HUP");
    assert!(node.says("must be a pair").contains("ERROR"));
    append("old.pem", "first").ok();
    place.write("node.key", new_key);
    place.write("tokens", "the-second-token-of-a-client\n");
    node.signal("-HUP");
    node.says("read again: changed: auth.token_file, tls.cert, tls.key");
    append("new.pem", "next").ok();
    append("old.pem", "next").fails(1, "another authority");
    append("new.pem", "first").fails(1, "token");
    assert_eq!(node.stop("-TERM"), 0);
}

#[test]
fn a_member_that_left_is_not_down_and_can_be_forgotten() {
    let place = Place::new();
    let (first, address, _) = with_console(&place, &["--store", "a"]);
    let second = Running::start(&place, &["--store", "b", "--join", &address]);
    let third = Running::start(&place, &["--store", "c", "--join", &address]);
    let state_of = |of: &str| {
        let all = peers(&place, &address);
        all.iter().find(|peer| peer["address"] == of).map(|peer| peer["state"].clone())
    };
    let (left, killed) = (second.address().to_owned(), third.address().to_owned());
    until("both there", || [&left, &killed].iter().all(|of| state_of(of) == Some("alive".into())));
    place.run(&["forget", &left, "--store", "a"]).fails(4, "stopped first");
    assert_eq!(second.stop("-TERM"), 0);
    until("left", || state_of(&left) == Some("left".into()));
    assert!(first.says("a member has left").contains(&left));
    drop(third);
    until("down", || state_of(&killed) == Some("down".into()));
    let said = place.run(&["forget", &left, "--store", "a"]).ok();
    assert!(said.text().contains(&format!("{left} is forgotten")), "{said:?}");
    assert_eq!(state_of(&left), None);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(state_of(&left), None, "it does not come back by itself");
    place.run(&["forget", &left, "--store", "a"]).fails(4, "no such member");
}

#[test]
fn lag_is_how_far_behind_a_peer_is() {
    let place = Place::new();
    let first = Running::start(&place, &["--store", "a"]);
    let second = Running::start(&place, &["--store", "b", "--join", first.address()]);
    let lag = |of: &Running, about: &Running| {
        let all = peers(&place, of.address());
        let peer = all.iter().find(|peer| peer["address"] == about.address())?.clone();
        Some((
            peer["lag_entries"].as_u64(),
            peer["ahead_entries"].as_u64(),
            peer["lag_seconds"].clone(),
        ))
    };
    let append = |to: &Running, lines: &str| {
        place.run_with(&["append", "--to", to.address()], lines).ok();
    };
    append(&first, "1\n2\n");
    let in_step = |of: &Running, about: &Running| {
        lag(of, about).is_some_and(|(lag, ahead, _)| (lag, ahead) == (Some(0), Some(0)))
    };
    until("in step", || in_step(&first, &second) && in_step(&second, &first));
    // Long after both were equal, lag is of what came since.
    std::thread::sleep(Duration::from_secs(3));
    for store in ["a", "b"] {
        place.run(&["pause", "--store", store]).ok();
    }
    let said = place.run(&["sync-now", "--store", "a"]).ok();
    assert!(said.text().contains("once sync goes on: it is paused (asked)"), "{said:?}");
    append(&first, "3\n4\n5\n");
    until("behind by 3", || {
        lag(&first, &second).is_some_and(|(lag, _, seconds)| {
            lag == Some(3) && seconds.as_f64().is_some_and(|seconds| seconds < 3.0)
        })
    });
    until("ahead by 3", || {
        lag(&second, &first).is_some_and(|(lag, ahead, _)| (lag, ahead) == (Some(0), Some(3)))
    });
    let text = place.run(&["peers", first.address()]).ok();
    assert!(text.text().contains("  3 "), "{text:?}");
    for store in ["a", "b"] {
        place.run(&["resume", "--store", store]).ok();
    }
    until("in step again", || in_step(&first, &second) && in_step(&second, &first));
}
