//! Certificates, authorities and tokens that are replaced while they are in use.

use super::authority::Authority;
use super::binary::Place;
use super::joining::{peers, until};
use super::node::Running;
use super::serving::Served;

const FIRST: &str = "the-first-token-of-a-client\n";
const SECOND: &str = "the-second-token-of-a-client\n";
const FLAGS: [&str; 6] =
    ["--tls-cert", "node.pem", "--tls-key", "node.key", "--token-file", "tokens"];

/// A place with the certificate of a server by an authority, and its tokens.
fn with_files() -> (Place, Authority) {
    let place = Place::with("a\n");
    let authority = Authority::new(&place, "old");
    authority.issue(&place, "node");
    for (name, token) in [("tokens", FIRST), ("first", FIRST), ("second", SECOND)] {
        place.write(name, token);
    }
    (place, authority)
}

/// Appends over the network, with an authority and a token.
fn append(place: &Place, address: &str, ca: &str, token: &str) -> super::binary::Outcome {
    let peer = format!("https://{address}");
    let to = ["append", "--to", &peer, "--tls-ca", ca, "--token-file", token];
    place.run_with(&to, "b\n")
}

#[test]
fn certificates_and_tokens_are_taken_on_by_a_reload() {
    let (place, _) = with_files();
    let new = Authority::new(&place, "new");
    let node = Running::start(&place, &FLAGS);
    let append = |ca: &str, token: &str| append(&place, node.address(), ca, token);
    append("old.pem", "first").ok();
    // Half of a pair is not taken, and all goes on.
    let key = std::fs::read(place.path("node.key")).unwrap();
    new.issue(&place, "node");
    let new_key = std::fs::read(place.path("node.key")).unwrap();
    place.write("node.key", key);
    node.signal("-HUP");
    assert!(node.says("must be a pair").contains("ERROR"));
    node.says("the configuration is read again, in part");
    append("old.pem", "first").ok();
    place.write("node.key", new_key);
    place.write("tokens", SECOND);
    node.signal("-HUP");
    // Files that have changed are found without being asked, too.
    node.says("read again: changed: auth.token_file, tls.cert, tls.key");
    append("new.pem", "second").ok();
    append("old.pem", "second").fails(1, "another authority");
    append("new.pem", "first").fails(1, "token");
    assert_eq!(node.stop("-TERM"), 0);
}

#[test]
fn an_expired_certificate_does_not_keep_a_token_from_being_revoked() {
    let (place, authority) = with_files();
    let node = Running::start(&place, &FLAGS);
    let append = |token: &str| append(&place, node.address(), "old.pem", token);
    append("first").ok();
    authority.issue_for(&place, "node", 2001, 2002);
    place.write("tokens", SECOND);
    let reload = || place.run(&["reload", "--store", ".stemedb"]);
    let refused = reload().fails(2, "keeping the previous tls.cert, tls.key: ");
    let refused = refused.says("expired on 2002-01-01").says("changed: auth.token_file");
    assert!(!refused.stderr.contains("changed: tls"), "{refused:?}");
    append("second").ok();
    append("first").fails(1, "token");
    // What is wrong is said each time, until it is right.
    reload().fails(2, "keeping the previous tls.cert, tls.key: ").says("nothing has changed");
    authority.issue(&place, "node");
    let done = reload().ok();
    assert!(done.text().contains("changed: tls.cert, tls.key"), "{done:?}");
    append("second").ok();
    // The other way round, tokens that can't be used do not keep a certificate from being renewed.
    authority.issue(&place, "node");
    place.write("tokens", "\n");
    reload().fails(2, "keeping the previous auth.token_file: ").says("changed: tls.cert, tls.key");
    append("second").ok();
    append("first").fails(1, "token");
    assert_eq!(node.stop("-TERM"), 0);
}

#[test]
fn files_that_change_are_taken_on_without_being_asked() {
    let (place, _) = with_files();
    let new = Authority::new(&place, "new");
    let node = Running::start(&place, &FLAGS);
    let served = Served::start(&place, "served", &FLAGS);
    let addresses = [node.address(), &served.address];
    for address in addresses {
        append(&place, address, "old.pem", "first").ok();
    }
    new.issue(&place, "node");
    place.write("tokens", SECOND);
    for address in addresses {
        until("taken on", || append(&place, address, "new.pem", "second").code == 0);
        append(&place, address, "new.pem", "first").fails(1, "token");
        append(&place, address, "old.pem", "second").fails(1, "another authority");
    }
    node.says("files are read again: changed: auth.token_file, tls.cert, tls.key");
    // What can't be used is not taken on.
    place.write("node.pem", "no certificate");
    assert!(node.says("keeping the previous tls.cert").contains("ERROR"));
    append(&place, &served.address, "new.pem", "second").ok();
    let (code, said) = served.stop();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("certificates and tokens are read again"), "{said}");
    assert_eq!(node.stop("-TERM"), 0);
}

#[test]
fn a_served_store_reads_its_files_again_when_asked() {
    let (place, authority) = with_files();
    let any = ["serve", "--store", "served", "--listen", "127.0.0.1:0"];
    let served = Running::of(place.command(&[&any[..], &FLAGS].concat()));
    // Nothing has changed, so that only the signal makes it.
    served.signal("-HUP");
    served.says("certificates and tokens are read again");
    authority.issue_for(&place, "node", 2001, 2002);
    place.write("tokens", SECOND);
    served.signal("-HUP");
    let said = served.says("keeping the previous certificates");
    assert!(said.contains("ERROR") && said.contains("2002-01-01"), "{said}");
    let append = |token: &str| append(&place, served.address(), "old.pem", token);
    append("second").ok();
    append("first").fails(1, "token");
    assert_eq!(served.stop("-TERM"), 0);
}

#[test]
fn authorities_of_the_system_are_read_at_the_start_only() {
    let place = Place::new();
    let authority = Authority::new(&place, "authority");
    authority.issue(&place, "a");
    let roots = place.path("authority.pem");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let free = free.to_string();
    let flags = ["--store", "b", "--tls-system-roots", "--join", &free];
    let any = ["node", "--listen", "127.0.0.1:0", "--http", "none"];
    let mut command = place.command(&[&any[..], &flags].concat());
    let node = Running::of({
        command.env("SSL_CERT_FILE", &roots).env_remove("SSL_CERT_DIR");
        command
    });
    node.says("cannot join the cluster at this address");
    std::fs::remove_file(roots).unwrap();
    let other = ["node", "--store", "a", "--listen", &free, "--http", "none"];
    let tls = ["--tls-cert", "a.pem", "--tls-key", "a.key"];
    let _other = Running::of(place.command(&[&other[..], &tls].concat()));
    let is_there = || peers(&place, node.address()).iter().any(|peer| peer["state"] == "alive");
    until("joined", is_there);
}

#[test]
fn an_authority_of_servers_is_taken_on_for_new_calls() {
    let (place, ours) = with_files();
    Authority::new(&place, "authority");
    let other = Running::start(&place, &["--store", "a", FLAGS[0], FLAGS[1], FLAGS[2], FLAGS[3]]);
    let join = ["--store", "b", "--tls-ca", "authority.pem", "--join", other.address()];
    let node = Running::start(&place, &join);
    node.says("another authority");
    drop(ours);
    place.write("authority.pem", std::fs::read(place.path("old.pem")).unwrap());
    node.signal("-HUP");
    node.says("read again: changed: tls.ca");
    let is_there = || peers(&place, node.address()).iter().any(|peer| peer["state"] == "alive");
    until("joined", is_there);
}

#[test]
fn what_a_reload_changes_is_in_force() {
    let place = Place::with("a\n");
    place.write("node.toml", "[scrub]\nenabled = false\n");
    let node = Running::start(&place, &["--config", "node.toml"]);
    let status = || {
        let status = place.run(&["status", node.address(), "--json"]).ok();
        serde_json::from_str::<serde_json::Value>(status.text()).unwrap()
    };
    let before = status();
    assert!(before["scrub"].is_null() && before["peers"].as_array().unwrap().is_empty());
    let changed = "[scrub]\nenabled = true\n[cluster]\npeers = [\"127.0.0.1:1\"]\n[disk]\n\
                   reserve = \"3M\"\n";
    place.write("node.toml", changed);
    place.run(&["reload", "--store", ".stemedb"]).ok();
    assert_eq!(status()["peers"][0]["address"], "127.0.0.1:1");
    until("scrubbed", || !status()["scrub"]["last_pass"].is_null());
    until("another reserve", || status()["disk"]["reserve"] == "3145728");
}

#[test]
fn a_certificate_that_expires_soon_is_warned_of() {
    let (place, authority) = with_files();
    authority.issue_for_days(&place, "node", 15);
    let node = Running::start(&place, &FLAGS);
    authority.issue_for_days(&place, "node", 13);
    node.signal("-HUP");
    let said = node.says("a certificate runs out");
    assert!(said.contains("WARN") && said.contains("tls.cert"), "{said}");
    assert!(said.contains("days=\"12.9\"") || said.contains("days=\"13.0\""), "{said}");
}
