//! Bytes of heap that a set tree takes.

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role, Sample};
use crate::ours;
use crate::peer::search_tree;
use crate::setting::Setting;

/// Sizes between two powers of two as well: how full the pages are depends on that.
const SIZES: [(&str, u64); 4] = [
    ("B/id at 100 K", 100_000),
    ("B/id at 300 K", 300_000),
    ("B/id at 1 M", 1_000_000),
    ("B/id at 3 M", 3_000_000),
];

fn at_sizes(
    setting: &Setting,
    memory: fn(&[[u8; 32]]) -> Result<f64, Failure>,
) -> Result<Sample, Failure> {
    SIZES
        .iter()
        .map(|&(metric, size)| Ok((metric, memory(&body::ids(0, setting.records(size)))?)))
        .collect()
}

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(1);
    let size = setting.clone();
    contest.add("stemedb-merkle, with positions", Role::Ours, move || {
        at_sizes(&size, ours::set_tree::memory)
    });
    {
        let size = setting.clone();
        contest.add("restart checkpoint", Role::Ours, move || ours::large::checkpoint_bytes(&size));
    }
    let size = setting.clone();
    contest.add("merkle-search-tree, with positions", Role::Peer, move || {
        at_sizes(&size, |ids| Ok(search_tree::memory(ids)))
    });
    contest.add("id and position in a Vec", Role::Limit, || {
        Ok(SIZES.iter().map(|&(metric, _)| (metric, 40.0)).collect())
    });
    for (metric, _) in SIZES {
        let asked = "at most 60 B an id in memory";
        contest.goal(asked, "stemedb-merkle, with positions", metric, Bar::AtMost(60.0));
    }
    contest.goal("at most 46 B an id on disk", "restart checkpoint", "B/id", Bar::AtMost(46.0));
    contest.note(
        "Counted by the benchmark's allocator, the 8 bytes and the rounding that malloc adds to \
         each block included; nothing is random here, so one round is enough.",
    );
    Ok(contest)
}
