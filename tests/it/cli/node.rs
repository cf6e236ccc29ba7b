//! `stemedb node` as a process: the line when it is ready, its log, its signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::binary::{Place, object};

/// How long a process may take for what takes it milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A node on any free port, ended when this is dropped.
pub(super) struct Running {
    child: Child,
    pub(super) ready: String,
    log: Receiver<String>,
}

impl Running {
    pub(super) fn start(place: &Place, flags: &[&str]) -> Self {
        let any = ["node", "--listen", "127.0.0.1:0", "--http", "none"];
        Self::of(place.command(&[&any[..], flags].concat()))
    }

    pub(super) fn of(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines() {
                // Nobody listens any more once the test is over.
                let _ = lines.send(line.unwrap());
            }
        });
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        Self { child, ready, log }
    }

    pub(super) fn address(&self) -> &str {
        let (_, address) = self.ready.trim_end().rsplit_once(" on ").unwrap();
        address
    }

    pub(super) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits for a line of the log that says this, and gives it.
    #[track_caller]
    pub(super) fn says(&self, text: &str) -> String {
        let mut said = Vec::new();
        while let Ok(line) = self.log.recv_timeout(PATIENCE) {
            if line.contains(text) {
                return line;
            }
            said.push(line);
        }
        panic!("not {text:?}: {said:?}");
    }

    pub(super) fn stop(mut self, signal: &str) -> i32 {
        self.signal(signal);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it does now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_node_makes_its_store_serves_it_and_stops() {
    for signal in ["-TERM", "-INT"] {
        let place = Place::new();
        let node = Running::start(&place, &[]);
        assert!(node.ready.contains(": 0 assertions, root "), "{}", node.ready);
        place.run_with(&["append", "--to", node.address()], "a\n").ok();
        assert_eq!(node.stop(signal), 0);
        assert_eq!(place.ids().len(), 1);
        let check = place.run(&["check", "--deep"]).ok();
        assert!(!check.stderr.contains("torn"), "{check:?}");
    }
}

#[test]
fn it_is_ready_in_one_line_of_json() {
    let place = Place::with("a\n");
    let node = Running::start(&place, &["--json", "--log-format", "json"]);
    let fields = ["address", "http", "count", "set_root", "log_size", "log_root"];
    let ready = object(&node.ready, &fields);
    assert_eq!(ready["count"], 1);
    assert!(ready["http"].is_null());
    node.signal("-TERM");
    let line = node.says("stopping");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO");
}

#[test]
fn the_configuration_says_which_store() {
    let place = Place::new();
    place.write("node.toml", "store = \"mine\"\nsecret_file = \"secret\"\n");
    place.write("secret", "0123456789abcdef");
    let node = Running::start(&place, &["--config", "node.toml"]);
    assert!(place.path("mine").is_dir() && !place.path(".stemedb").exists());
    drop(node);
    place.run(&["append", "--store", "mine"]).fails(2, "secret");
}

#[test]
fn what_is_wrong_is_said_before_there_is_a_store() {
    let place = Place::new();
    place.write("node.toml", "[sync]\nintervall = \"1m\"\n");
    place.run(&["node", "--config", "node.toml"]).fails(2, "did you mean interval in [sync]?");
    place.run(&["node", "--listen", "0.0.0.0:0"]).fails(2, "without TLS");
    let open = ["node", "--listen", "0.0.0.0:0", "--advertise", "a:1", "--allow-plaintext"];
    place.run(&open).fails(2, "with neither a secret nor client certificates");
    place.run(&["node", "--token-file", "gone"]).fails(2, "flag --token-file: auth.token_file");
    assert!(!place.path(".stemedb").exists());
}

#[test]
fn sighup_takes_on_what_can_change_and_names_the_rest() {
    let place = Place::new();
    place.write("tokens", "0123456789abcdef0123456789abcdef\n");
    place.write("node.toml", "[auth]\ntoken_file = \"tokens\"\npeer_token_file = \"tokens\"\n");
    let node = Running::start(&place, &["--config", "node.toml"]);
    node.signal("-HUP");
    node.says("read again: nothing has changed");

    let changed = "[auth]\ntoken_file = \"tokens\"\npeer_token_file = \"tokens\"\n[sync]\n\
                   interval = \"1m\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n";
    place.write("node.toml", changed);
    place.write("tokens", "fedcba9876543210fedcba9876543210\n");
    node.signal("-HUP");
    assert!(node.says("sync.interval").contains("from=\"30s\" to=\"1m\""));
    node.says("log.level");
    assert!(node.says("log.format").contains("takes effect at the next start"));
    assert!(node.says("auth.token_file").contains("the file has changed"));
    node.says(
        "changed: sync.interval, log.level, auth.peer_token_file, auth.token_file; at the next \
         start: log.format",
    );

    place.write("node.toml", "[sync]\ninterval = \"1\"\n");
    node.signal("-HUP");
    assert!(node.says("node.toml:2: sync.interval can't be \"1\"").contains("ERROR"));
    node.says("keeping the previous configuration");
    // It goes on, and what was told of is told of again until it is started anew.
    place.write("node.toml", changed);
    node.signal("-HUP");
    let line = node.says("log.");
    assert!(line.contains("log.format"), "the rest is in force already: {line}");
    place.write("old", "0123456789abcdef0123456789abcdef\n");
    let append = |token| ["append", "--to", node.address(), "--token-file", token];
    place.run_with(&append("old"), "a\n").fails(1, "token");
    assert!(node.says("a client is refused").contains("reason=token"));
    place.run_with(&append("tokens"), "a\n").ok();
    assert_eq!(node.stop("-TERM"), 0);
}

#[test]
fn a_service_manager_is_notified_when_it_is_ready() {
    let place = Place::new();
    let manager = std::os::unix::net::UnixDatagram::bind(place.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let flags = ["node", "--listen", "127.0.0.1:0", "--http", "none"];
    let mut command = place.command(&flags);
    command.env("NOTIFY_SOCKET", place.path("notify"));
    let node = Running::of(command);
    let told = || {
        let mut message = [0; 64];
        let len = manager.recv(&mut message).unwrap();
        message[..len].to_vec()
    };
    assert_eq!(told(), b"READY=1\n");
    assert_eq!(node.stop("-TERM"), 0);
    assert_eq!(told(), b"STOPPING=1\n");
}

#[test]
fn where_no_node_is_the_commands_for_one_say_so() {
    let place = Place::new();
    let nobody = "127.0.0.1:9";
    for arguments in [
        &["status", nobody][..],
        &["peers", nobody],
        &["pause", "--node", nobody],
        &["resume", "--node", nobody],
        &["sync-now", "--node", nobody],
        &["sync-now", "10.0.0.2", "--node", nobody],
        &["reload", "--node", nobody],
    ] {
        place.run(arguments).fails(1, "cannot connect to 127.0.0.1:9");
    }
    place.run(&["status", "a b"]).fails(2, "HOST:PORT");
    place.run(&["trigger", "a b"]).fails(2, "HOST:PORT");
    assert!(!place.path(".stemedb").exists());
}

#[test]
fn the_token_is_not_shown_to_addresses_of_gossip() {
    let place = Place::new();
    place.write("token", "0123456789abcdef0123456789abcdef\n");
    let first = Running::start(&place, &["--store", "a"]);
    let join = ["--join", first.address()];
    let shows = [&["--store", "b", "--peer-token-file", "token"], &join[..]].concat();
    let second = Running::start(&place, &shows);
    let third = Running::start(&place, &[&["--store", "c"], &join[..]].concat());
    let line = second.says("the token is not shown to this node");
    assert!(line.contains(third.address()) && !line.contains(first.address()), "{line}");
    for node in [first, second, third] {
        assert_eq!(node.stop("-TERM"), 0);
    }
}
