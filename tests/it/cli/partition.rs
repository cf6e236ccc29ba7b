//! A network that breaks for a while, between two network namespaces. Takes root and `ip`:
//! `.ci/run` runs it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::binary::{Place, finish};
use super::killed::{OWN_LEN, complete, count, two, wait_for_log};
use super::serving::Served;

/// Two namespaces with a cable between them, removed when this is dropped.
struct Network {
    names: [String; 2],
}

fn ip(arguments: &[&str]) -> bool {
    let mut run = Command::new("ip");
    run.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    run.status().is_ok_and(|status| status.success())
}

impl Network {
    fn new() -> Self {
        let names = ["a", "b"].map(|side| format!("stemedb-{}-{side}", std::process::id()));
        let network = Self { names };
        let [a, b] = &network.names;
        let made = ip(&["netns", "add", a])
            && ip(&["netns", "add", b])
            && ip(&[
                "-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns",
                b,
            ])
            && ip(&["-n", a, "address", "add", "10.77.0.1/24", "dev", "cable"])
            && ip(&["-n", b, "address", "add", "10.77.0.2/24", "dev", "cable"])
            && ip(&["-n", a, "link", "set", "cable", "up"])
            && ip(&["-n", b, "link", "set", "cable", "up"]);
        assert!(made, "no network namespaces can be made: that takes root and `ip`");
        network
    }

    fn cable(&self, state: &str) {
        assert!(ip(&["-n", &self.names[1], "link", "set", "cable", state]));
    }

    /// A process of the binary on one of the two sides.
    fn spawn(&self, place: &Place, side: usize, arguments: &[&str]) -> Child {
        let here = place.command(arguments);
        let mut there = Command::new("ip");
        there
            .args(["netns", "exec", &self.names[side]])
            .arg(here.get_program())
            .args(here.get_args())
            .current_dir(place.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        there.spawn().unwrap()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "delete", name]);
        }
    }
}

const ADDRESS: &str = "10.77.0.1:7845";

#[test]
#[ignore = "takes root and network namespaces"]
fn a_partition_that_heals_costs_time_and_nothing_else() {
    let network = Network::new();
    let place = two();
    let serve = ["serve", "--store", "a", "--listen", ADDRESS, "--allow-plaintext"];
    let served = Served::ready(network.spawn(&place, 0, &serve));
    let sync = ["sync", "--store", "b", "--json", ADDRESS];

    // Short: the session goes on by itself.
    let mut child = network.spawn(&place, 1, &sync);
    assert!(wait_for_log(&place.path("b"), OWN_LEN + (4 << 20), &mut child));
    network.cable("down");
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it gave up at once");
    network.cable("up");
    let outcome = finish(child, b"");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.text().contains("\"equal\":true"), "{outcome:?}");
    assert_eq!(served.stop().0, 0);
    assert_eq!(count(&place, "a"), count(&place, "b"));

    // Long: the session ends in its time, and the next one moves what remains.
    let place = two();
    let served = Served::ready(network.spawn(&place, 0, &serve));
    let mut child = network.spawn(&place, 1, &[&sync[..], &["--timeout", "3s"]].concat());
    assert!(wait_for_log(&place.path("b"), OWN_LEN + (4 << 20), &mut child));
    network.cable("down");
    let outcome = finish(child, b"");
    assert_eq!(outcome.code, 1, "{outcome:?}");
    network.cable("up");
    served.stop();
    let held = [count(&place, "a"), count(&place, "b")];
    let served = Served::ready(network.spawn(&place, 0, &serve));
    complete(&place, network.spawn(&place, 1, &sync), held);
    assert_eq!(served.stop().0, 0);
    assert_eq!(count(&place, "a"), count(&place, "b"));
}
