//! A store served by a process of its own, and what `serve` itself promises.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};

use super::binary::{Place, argument, id_of};

/// A process that serves a store, ended when this is dropped.
pub(super) struct Served {
    child: Child,
    pub(super) address: String,
}

impl Served {
    /// Serves the store of this name, on any free port.
    pub(super) fn start(place: &Place, store: &str, more: &[&str]) -> Self {
        Self::on(place, store, "127.0.0.1:0", more)
    }

    pub(super) fn on(place: &Place, store: &str, listen: &str, more: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--store", store, "--listen", listen];
        arguments.extend(more);
        Self::ready(place.command(&arguments).spawn().unwrap())
    }

    /// A process that serves, once it says so.
    pub(super) fn ready(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let Some((_, address)) = line.trim_end().rsplit_once(" on ") else {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("it does not serve: {line:?} {said}");
        };
        Self { address: address.to_owned(), child }
    }

    /// Asks it to stop, and gives its exit code and what it said.
    pub(super) fn stop(mut self) -> (i32, String) {
        self.signal("-TERM");
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (code, said)
    }

    pub(super) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already, or it does now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_stops_when_it_is_asked_to_and_its_store_is_whole() {
    let place = Place::with("a\nb\n");
    let served = Served::start(&place, ".stemedb", &[]);
    place.run_with(&["append", "--to", &served.address], "c\n").ok();
    let (code, said) = served.stop();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("stopping"), "{said}");
    assert_eq!(place.ids().len(), 3);
    let check = place.run(&["check", "--deep"]).ok();
    assert!(!check.stderr.contains("torn"), "{check:?}");
}

#[test]
fn what_can_not_be_served_is_said_before_anything_is() {
    let place = Place::with("a\n");
    place.run(&["serve", "--listen", "0.0.0.0:0"]).fails(2, "without TLS");
    place.run(&["serve", "--listen", "nonsense"]).fails(2, "--listen");
    place.run(&["serve", "--tls-cert", "c.pem"]).fails(2, "--tls-key");
    place.run(&["serve", "--client-ca", "c.pem"]).fails(2, "--tls-cert");
    let missing = ["serve", "--tls-cert", "c.pem", "--tls-key", "k.pem"];
    place.run(&missing).fails(2, "c.pem: cannot read the certificate");
    place.write("c.pem", "no certificate");
    place.write("k.pem", "no key");
    place.run(&missing).fails(2, "certificate");
    place.write("short", "short\n");
    place.run(&["serve", "--token-file", "short"]).fails(2, "short: cannot use it as a token file");
    place.write("none", "\n");
    place.run(&["serve", "--token-file", "none"]).fails(2, "there is no token");

    let served = Served::start(&place, ".stemedb", &[]);
    place
        .run(&["serve", "--store", "other", "--listen", &served.address])
        .fails(1, "cannot listen");
    place.run(&["serve", "--wait", "0"]).fails(1, "append --to");
    place.run(&["sync", "--wait", "0", &served.address]).fails(1, "in use by process");
}

#[test]
fn a_served_store_has_a_status() {
    let place = Place::with("a\nb\n");
    let served = Served::start(&place, ".stemedb", &[]);
    let status = place.run(&["status", &served.address, "--json"]).ok();
    let status: serde_json::Value = serde_json::from_str(status.text()).unwrap();
    assert_eq!(
        (&status["head"]["count"], &status["address"]),
        (&2.into(), &served.address.clone().into())
    );
    assert_eq!(status["not_ready"].as_array().map(Vec::len), Some(0));
    let text = place.run(&["status", &served.address]).ok();
    assert!(text.text().contains("2 assertions"), "{text:?}");
    place.run(&["pause", "--node", &served.address]).fails(1, "not permitted");
    // A node that is to join there is told that nobody does.
    assert_eq!(served.stop().0, 0);
}

#[test]
fn the_address_as_json() {
    let place = Place::with("a\n");
    let mut child = place.command(&["serve", "--listen", "127.0.0.1:0", "--json"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let fields = ["address", "count", "set_root", "log_size", "log_root"];
    let ready = super::binary::object(&line, &fields);
    assert_eq!(ready["count"], 1);
    assert!(ready["address"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn a_client_without_a_token_gets_nothing() {
    let place = Place::with("a\n");
    place.write("tokens", "the first of two tokens\nthe-second-of-two-tokens\n");
    place.run(&["serve", "--token-file", "tokens"]).fails(2, "visible ASCII");
    place.write("tokens", "the-first-of-two-tokens\nthe-second-of-two-tokens\n");
    place.write("second", "the-second-of-two-tokens\n");
    place.write("wrong", "another-token-altogether\n");
    let served = Served::start(&place, ".stemedb", &["--token-file", "tokens"]);
    let id = id_of("a");
    let get = |more: &[&str]| place.run(&[&["get", &id, "--from", &served.address], more].concat());
    get(&[]).fails(1, "token");
    get(&["--token-file", "wrong"]).fails(1, "token");
    assert_eq!(get(&["--token-file", "tokens"]).ok().stdout, b"a");
    assert_eq!(get(&["--token-file", "second"]).ok().stdout, b"a");
    place.run(&["sync", "--store", "b", &served.address]).says("token").code(1);
    let sync = ["sync", "--store", "b", &served.address, "--token-file", "second", "--json"];
    assert!(place.run(&sync).ok().text().contains("\"equal\":true"));
    let other = ["get", &id, "--from", "192.0.2.1", "--token-file", "second"];
    place.run(&other).fails(2, "in plaintext");
}

#[test]
fn with_tls_both_sides_know_each_other() {
    let place = Place::with("a\n");
    let authority = rcgen::Issuer::new(
        {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params
        },
        rcgen::KeyPair::generate().unwrap(),
    );
    let authority_pem = {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(authority.key()).unwrap().pem()
    };
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let pem = params.signed_by(&key, &authority).unwrap().pem();
        place.write(&format!("{name}.pem"), pem);
        place.write(&format!("{name}.key"), key.serialize_pem());
    };
    let ca = place.write("ca.pem", authority_pem);
    issue("localhost");
    issue("client");
    let flags =
        ["--tls-cert", "localhost.pem", "--tls-key", "localhost.key", "--client-ca", argument(&ca)];
    let served = Served::start(&place, ".stemedb", &flags);
    let peer = format!("https://{}", served.address);
    let client = ["--cert", "client.pem", "--key", "client.key", "--server-name", "localhost"];
    let sync = |store: &str, more: &[&str]| {
        place.run(&[&["sync", "--store", store, &peer, "--json"], more].concat())
    };
    let all = [&["--ca", "ca.pem"], &client[..]].concat();
    assert!(sync("b", &all).ok().text().contains("\"equal\":true"));
    sync("c", &[]).fails(2, "authority");
    assert!(!place.path("c").exists(), "whoever is not let in makes no store");
    sync("c", &["--ca", "ca.pem", "--server-name", "localhost"]).code(1);
    sync("c", &[&["--ca", "ca.pem"], &client[..4]].concat()).code(1);
    place.run(&["get", &id_of("a"), "--from", &served.address]).code(1);
}
