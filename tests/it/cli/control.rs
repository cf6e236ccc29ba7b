//! Who may control a node, and what each token permits: between processes.

use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use super::binary::{Place, id_of};
use super::serving::Served;

fn node(place: &Place, more: &[&str]) -> Served {
    let flags = ["node", "--store", "n", "--listen", "127.0.0.1:0", "--http", "none"];
    Served::ready(place.command(&[&flags[..], more].concat()).spawn().unwrap())
}

const CONTROLS: [&str; 4] = ["pause", "resume", "sync-now", "reload"];

#[test]
fn next_to_its_store_a_node_is_controlled_without_a_token() {
    let place = Place::new();
    place.write("clients", "a-token-of-the-clients\n");
    // Neither tokens nor their absence concern it.
    for more in [&[][..], &["--token-file", "clients"]] {
        let served = node(&place, more);
        let socket = std::fs::metadata(place.path("n/CONTROL")).unwrap();
        assert!(socket.file_type().is_socket());
        assert_eq!(socket.permissions().mode() & 0o7777, 0o600);
        let said = place.run(&["pause", "--store", "n"]).ok();
        assert!(said.text().starts_with("unix:n/CONTROL: no session begins"), "{said:?}");
        let status = place.run(&["status", "--store", "n", "--json"]).ok();
        assert!(status.text().contains("\"paused\":\"asked\""), "{status:?}");
        let said = place.run(&["resume", "--store", "n", "--json"]).ok();
        assert_eq!(said.json(&["node", "message"])["node"], "unix:n/CONTROL");
        let said = place.run(&["sync-now", "--store", "n"]).ok();
        assert!(said.text().contains("no peer to meet"), "{said:?}");
        place.run(&["sync-now", "10.0.0.2", "--store", "n"]).fails(4, "no such peer");
        let said = place.run(&["reload", "--store", "n"]).ok();
        assert!(said.text().contains("nothing has changed"), "{said:?}");
        place.run(&["peers", "--store", "n"]).ok().says("unix:n/CONTROL knows of no other node");
        assert_eq!(served.stop().0, 0);
        assert!(!place.path("n/CONTROL").exists());
    }
    for control in CONTROLS {
        place.run(&[control, "--store", "n"]).fails(1, "no node has the store at n open");
    }
}

#[test]
fn a_socket_that_a_killed_node_left_is_replaced() {
    let place = Place::new();
    let served = node(&place, &[]);
    served.signal("-KILL");
    drop(served);
    assert!(place.path("n/CONTROL").exists());
    place.run(&["pause", "--store", "n"]).fails(1, "no node has the store at n open");
    // It concerns nobody else.
    place.run(&["check", "--store", "n"]).ok();
    place.run(&["backup", "--store", "n", "copy"]).ok();
    assert!(!place.path("copy/CONTROL").exists());
    let served = node(&place, &[]);
    place.run(&["pause", "--store", "n"]).ok();
    assert_eq!(served.stop().0, 0);
}

#[test]
fn a_node_goes_on_where_no_socket_can_be_made() {
    let place = Place::new();
    assert_eq!(node(&place, &[]).stop().0, 0);
    place.write("n/CONTROL", "somebody's");
    let served = node(&place, &[]);
    place.run_with(&["append", "--to", &served.address], "a\n").ok();
    let (code, said) = served.stop();
    assert_eq!(code, 0);
    assert!(said.contains("there is no control socket"), "{said}");
    assert_eq!(std::fs::read(place.path("n/CONTROL")).unwrap(), b"somebody's");
}

#[test]
fn over_the_network_control_needs_a_token_of_an_administrator() {
    let place = Place::new();
    place.write("admins", "a-token-of-the-administrators\n");
    place.write("clients", "a-token-of-the-clients\n");
    place.write("peers", "a-token-of-the-peers\n");
    let any = node(&place, &[]);
    for control in CONTROLS {
        place.run(&[control, "--node", &any.address]).fails(1, "not permitted");
    }
    assert_eq!(any.stop().0, 0);
    let flags =
        ["--admin-tokens", "admins", "--client-tokens", "clients", "--peer-tokens", "peers"];
    let served = node(&place, &flags);
    let address = served.address.as_str();
    for (token, control, client, peer) in [
        ("admins", true, true, true),
        ("clients", false, true, false),
        ("peers", false, false, true),
    ] {
        let with_token = |arguments: &[&str], input: &str| {
            place.run_with(&[arguments, &["--token-file", token]].concat(), input)
        };
        let is = |code: i32| code == 0;
        assert_eq!(is(with_token(&["pause", "--node", address], "").code), control, "{token}");
        assert_eq!(is(with_token(&["append", "--to", address], "a\n").code), client, "{token}");
        let store = format!("store-of-{token}");
        place.run(&["init", "--store", &store]).ok();
        let sync = ["sync", "--store", &store, address];
        assert_eq!(is(with_token(&sync, "").code), peer, "{token}");
        with_token(&["status", address], "").ok();
    }
    place.run(&["status", address]).fails(1, "token");
    place.run(&["get", &id_of("a"), "--from", address]).fails(1, "token");
    assert_eq!(served.stop().0, 0);
}

#[test]
fn too_many_connections_of_one_address_are_refused_with_a_reason() {
    let place = Place::with("a\n");
    let served = Served::start(&place, ".stemedb", &["--connections-per-address-max", "2"]);
    let held = [0, 1].map(|_| TcpStream::connect(&served.address).unwrap());
    let get = ["get", &id_of("a"), "--from", &served.address];
    place.run(&get).fails(1, "there are 2 connections from this address already");
    drop(held);
    // Their places are free once the server has noticed.
    assert!((0..50).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        place.run(&get).code == 0
    }));
    let (code, said) = served.stop();
    assert_eq!(code, 0);
    assert!(said.contains("connections_per_address_max"), "{said}");
    assert!(said.contains("a client is refused") && said.contains("127.0.0.1"), "{said}");
}
