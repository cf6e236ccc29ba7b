use stemedb_merkle::Root;

use super::*;
use crate::message::SetHead;

const SECOND: Duration = Duration::from_secs(1);

fn member(number: u8, key: &NodeKey, address: &str) -> Member {
    let (node, address) = ([number; 16], address.to_owned());
    Member { node, key: key.public(), generation: 7, address }
}

/// A node that began when the clock said what it says in each of these runs.
fn node(number: u8, seed: u8, address: &str, run: u8, remembered: Vec<KnownMember>) -> Gossip {
    let key = NodeKey::from_seed(&[seed; 32]);
    let member = member(number, &key, address);
    let (keys, version) = (Keys::new(None), String::new());
    let own = Own { keys, key, member, run: [run; 16], began: 7, version, remembered };
    Gossip::new(own, u64::from(run), SECOND)
}

fn head(log_size: u64) -> Head {
    let set = SetHead { count: log_size, root: Root([1; 32]) };
    Head { set, log_size, last_time: 0, epoch: 1, store: [0; 16], version: String::new() }
}

/// Lets time pass, in which frames arrive at once.
fn pass(nodes: &mut [Gossip], from: Duration, seconds: u32) -> Duration {
    let mut now = from;
    for _ in 0..seconds * 10 {
        now += SECOND / 10;
        for node in nodes.iter_mut() {
            node.tick(now);
        }
        let mut any = true;
        while std::mem::take(&mut any) {
            for at in 0..nodes.len() {
                while let Some(event) = nodes[at].event() {
                    let Event::Send { to, frame, .. } = event else { continue };
                    let there = nodes.iter_mut().find(|node| node.own_address() == to);
                    if let Some(there) = there {
                        let _ = there.receive(&frame, now);
                        any = true;
                    }
                }
            }
        }
    }
    now
}

impl Gossip {
    fn own_address(&self) -> &str {
        &self.who.record.member.address
    }

    /// The members that the library knows, with their seeds' keys.
    fn in_library(&self) -> Vec<Member> {
        self.foca.iter_membership_state().map(|update| update.id().clone()).collect()
    }
}

#[test]
fn heads_of_a_restarted_node_count_though_the_clock_stands() {
    let mut nodes = [node(1, 1, "a:1", 1, Vec::new()), node(2, 2, "b:1", 2, Vec::new())];
    nodes[1].join("a:1", SECOND);
    let mut now = pass(&mut nodes, SECOND, 3);
    for size in [1, 1, 1, 2, 3, 4, 5] {
        nodes[1].publish(head(size), now);
        now = pass(&mut nodes, now, 1);
    }
    assert_eq!(nodes[0].head_of(&[2; 16]), Some(head(5)));
    // Its generation is what it was, and nobody has noticed that it was gone.
    nodes[1] = node(2, 2, "b:1", 3, Vec::new());
    nodes[1].join("a:1", now);
    nodes[1].publish(head(5), now);
    now = pass(&mut nodes, now, 3);
    for size in [6, 6, 7] {
        nodes[1].publish(head(size), now);
        now = pass(&mut nodes, now, 2);
        assert_eq!(nodes[0].head_of(&[2; 16]), Some(head(size)));
    }
}

#[test]
fn a_node_takes_the_place_of_one_that_is_gone() {
    let mut nodes = [node(1, 1, "a:1", 1, Vec::new()), node(2, 2, "b:1", 2, Vec::new())];
    nodes[1].join("a:1", SECOND);
    let now = pass(&mut nodes, SECOND, 5);
    assert_eq!(nodes[0].active(), 1);
    // The disk was emptied: another node is at the same address.
    nodes[1] = node(3, 3, "b:1", 3, Vec::new());
    nodes[1].join("a:1", now);
    let _ = pass(&mut nodes, now, 20);
    let third = nodes[1].who.record.member.clone();
    assert_eq!(nodes[0].in_library(), std::slice::from_ref(&third));
    assert_eq!(nodes[0].members().map(|(member, _)| member.clone()).collect::<Vec<_>>(), [third]);
    assert_eq!(nodes[1].active(), 1);
}

#[test]
fn the_one_who_took_an_id_goes_when_its_holder_is_back() {
    let holder = NodeKey::from_seed(&[2; 32]);
    let known = KnownMember {
        node: [2; 16],
        key: holder.public(),
        address: "b:1".to_owned(),
        known: SECOND,
        away: 3_560 * SECOND,
        met: true,
    };
    let key_of = |node: &Gossip| node.members().map(|(member, _)| member.key).next();
    let usurper = node(2, 9, "c:1", 2, Vec::new());
    let mut nodes = [node(1, 1, "a:1", 1, vec![known]), usurper];
    let mut now = SECOND;
    for _ in 0..7 {
        nodes[1].join("a:1", now);
        now = pass(&mut nodes, now, 5);
    }
    assert_eq!(key_of(&nodes[0]), None, "held for an hour, of which 40 s are left");
    for _ in 0..10 {
        nodes[1].join("a:1", now);
        now = pass(&mut nodes, now, 5);
    }
    assert_eq!(key_of(&nodes[0]), Some(nodes[1].own_key()), "it was gone for long enough");
    assert_eq!(nodes[0].known(), []);
    let [first, usurper] = nodes;
    let mut nodes = [first, usurper, node(2, 2, "b:1", 3, Vec::new())];
    nodes[2].join("a:1", now);
    let _ = pass(&mut nodes, now, 40);
    let back = nodes[2].who.record.member.clone();
    assert_eq!(nodes[0].in_library(), std::slice::from_ref(&back));
    assert_eq!(nodes[0].known().into_iter().map(|known| known.key).collect::<Vec<_>>(), [back.key]);
    assert_eq!(nodes[2].active(), 1);
}
