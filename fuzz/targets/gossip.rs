//! A member of a cluster, and what others may send it.

use std::time::Duration;

use stemedb_merkle::{Root, hash::derive};
use stemedb_sync::{
    Cluster, Keys,
    cluster::{Config, FRAME_LEN_MAX, Head, MEMBERS_MAX, NodeKey, Output, Policy},
    message::SetHead,
};

use super::script::Script;

const ADDRESSES: [&str; 2] = ["node1:1", "node2:1"];

/// What a node tells of its store.
fn head(count: u64) -> Head {
    let set = SetHead { count, root: Root([count as u8; 32]) };
    let version = "fuzz".to_owned();
    Head { set, log_size: count, last_time: 0, epoch: 1, store: [0; 16], version }
}

/// One of two members, who join each other.
pub(crate) fn member(number: usize) -> Cluster {
    let config = Config {
        node: [1 + number as u8; 16],
        key: NodeKey::from_seed(&[1 + number as u8; 32]),
        remembered: Vec::new(),
        run: [0x10 + number as u8; 16],
        began: (1_000_000 << 32) | number as u64,
        address: ADDRESSES[number].to_owned(),
        version: "fuzz".to_owned(),
        keys: Keys::new(None),
        gossip: true,
        join: ADDRESSES.map(str::to_owned).to_vec(),
        peers: Vec::new(),
        policy: Policy { interval: Duration::from_secs(30), sessions_max: 2 },
        seed: 7 + number as u64,
    };
    Cluster::new(config, head(number as u64), Duration::from_secs(1))
}

/// Puts the proof right that the sender has the cluster's secret, which is none.
fn prove(frame: &mut [u8]) {
    let Some((front, payload)) = frame.split_first_chunk_mut::<18>() else { return };
    let mut hasher = blake3::Hasher::new_keyed(&derive("gossip", b""));
    hasher.update(&front[..2]).update(payload);
    front[2..].copy_from_slice(&hasher.finalize().as_bytes()[..16]);
}

/// Two members of a cluster, and a third party that may send, repeat, change and hold back frames.
pub(crate) fn gossip(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut nodes = [member(0), member(1)];
    let mut now = Duration::from_secs(1);
    // What was sent and has not arrived: to whom, and the frame.
    let mut way: Vec<(usize, Vec<u8>)> = Vec::new();
    for _ in 0..64 {
        for node in &mut nodes {
            node.tick(now);
            let outputs: Vec<Output> = std::iter::from_fn(|| node.output()).collect();
            assert!(outputs.len() <= 4 * MEMBERS_MAX, "{} outputs", outputs.len());
            for output in outputs {
                let Output::Send { to, frame, .. } = output else { continue };
                assert!(frame.len() <= FRAME_LEN_MAX);
                if let Some(to) = ADDRESSES.iter().position(|address| *address == to) {
                    way.push((to, frame));
                }
            }
            assert!(node.peers().count() <= 2 * MEMBERS_MAX);
            assert!(node.due().is_none_or(|due| due < now + Duration::from_secs(86_400)));
        }
        way.truncate(256);
        if script.is_over() && way.is_empty() {
            break;
        }
        match script.below(8) {
            // Time goes by.
            0 => now += Duration::from_millis(100 * u64::from(script.byte())),
            // A frame of its own making.
            1 | 2 => {
                let to = usize::from(script.below(2));
                // Frames with a signature are longer than what one list of bytes has.
                let mut frame = [script.bytes(), script.bytes(), script.bytes()].concat();
                prove(&mut frame);
                way.push((to, frame));
            }
            // One of those on the way is changed, lost, or comes again, or to the other.
            3 | 4 if !way.is_empty() => {
                let at = usize::from(script.byte()) % way.len();
                let mut frame = way[at].1.clone();
                script.change(&mut frame);
                if script.below(4) > 0 {
                    prove(&mut frame);
                }
                way.push((usize::from(script.below(2)), frame));
            }
            5 if !way.is_empty() => drop(way.remove(usize::from(script.byte()) % way.len())),
            // A write, a good-bye, or a session that ended.
            6 => {
                let node = &mut nodes[usize::from(script.below(2))];
                match script.below(8) {
                    0 => node.leave(now),
                    count => node.changed(head(count.into()), now),
                }
            }
            // All arrive.
            _ => {
                for (to, frame) in std::mem::take(&mut way) {
                    // Refused or not, it goes on.
                    if let Err(error) = nodes[to].receive(&frame, now) {
                        assert!(!error.to_string().is_empty());
                    }
                }
                now += Duration::from_millis(20);
            }
        }
    }
}
