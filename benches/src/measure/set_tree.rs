//! The set tree alone, in memory.

use std::rc::Rc;

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role};
use crate::latency;
use crate::limit::hash;
use crate::ours;
use crate::peer::search_tree;
use crate::setting::Setting;

const IDS: u64 = 1_000_000;

pub(crate) fn hashes(_: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(7);
    contest.add("hashes of one core", Role::Limit, hash::parents);
    contest.note("A parent is keyed BLAKE3 of 64 bytes; a history node is SHA-256 of 65 bytes.");
    Ok(contest)
}

pub(crate) fn inserts(setting: &Setting) -> Result<Contest, Failure> {
    inserts_of(setting, 1)
}

pub(crate) fn batches(setting: &Setting) -> Result<Contest, Failure> {
    inserts_of(setting, 1000)
}

fn inserts_of(setting: &Setting, batch: usize) -> Result<Contest, Failure> {
    let ids = Rc::new(body::ids(0, setting.records(IDS)));
    let more = Rc::new(body::ids(1 << 50, setting.records(IDS) / 5));
    let mut contest = Contest::new(5);
    {
        let (ids, more) = (Rc::clone(&ids), Rc::clone(&more));
        contest
            .add("stemedb-merkle", Role::Ours, move || ours::set_tree::inserts(&ids, &more, batch));
    }
    contest.add("merkle-search-tree", Role::Peer, move || search_tree::inserts(&ids, &more, batch));
    let count = setting.records(IDS);
    contest
        .add("depth × one parent in a chain", Role::Limit, move || hash::path("ns median", count));
    if batch == 1 {
        contest.goal("median under 3 µs", "stemedb-merkle", "ns median", Bar::AtMost(3000.0));
        contest.goal("p99 under 7 µs", "stemedb-merkle", "ns p99", Bar::AtMost(7000.0));
        contest.goal("no stall over 1 ms", "stemedb-merkle", "ns max", Bar::AtMost(1e6));
        contest.goal("stretch: 2.2 µs", "stemedb-merkle", "ns median", Bar::AtMost(2200.0));
    } else {
        contest.goal("under 1.5 µs each", "stemedb-merkle", "ns median", Bar::AtMost(1500.0));
        contest.goal("stretch: 1 µs", "stemedb-merkle", "ns median", Bar::AtMost(1000.0));
    }
    contest.note(format!(
        "The tree grows from 1 M to 1.2 M ids; the root is asked for after each {}. Reading the \
         clock adds {:.0} ns to each, which is left in. merkle-search-tree hashes with SipHash of \
         128 bits, which proves nothing to an adversary.",
        if batch == 1 { "insert" } else { "batch" },
        latency::clock_overhead()
    ));
    if batch > 1 {
        contest.note("The limit is that of single inserts: batches share parents and use SIMD.");
    }
    Ok(contest)
}

pub(crate) fn builds(setting: &Setting) -> Result<Contest, Failure> {
    let ids = Rc::new(body::ids(0, setting.records(IDS)));
    let mut contest = Contest::new(5);
    {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        contest.add("stemedb-merkle, sorted", Role::Ours, move || ours::set_tree::build(&sorted));
        let any = Rc::clone(&ids);
        contest.add("stemedb-merkle, any order", Role::Ours, move || ours::set_tree::build(&any));
    }
    contest.add("merkle-search-tree, any order", Role::Peer, move || search_tree::build(&ids));
    let count = setting.records(IDS);
    contest.add("1.44 parents and a leaf an id, 64 at a time", Role::Limit, move || {
        hash::all_nodes(count)
    });
    contest.goal("sorted: under 100 ms", "stemedb-merkle, sorted", "ms", Bar::AtMost(100.0));
    contest.goal("any order: under 200 ms", "stemedb-merkle, any order", "ms", Bar::AtMost(200.0));
    Ok(contest)
}
