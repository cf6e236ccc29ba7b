//! Membership proofs.

use crate::Failure;
use crate::contest::{Bar, Contest, Role};
use crate::limit::hash;
use crate::ours;
use crate::setting::Setting;

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(5);
    {
        let (million, ten) = (setting.records(1_000_000), setting.records(10_000_000));
        contest.add("stemedb-merkle, 1 M", Role::Ours, {
            let tree = ours::set_tree::Proving::new(million)?;
            move || tree.run()
        });
        contest.add("stemedb-merkle, 10 M", Role::Ours, {
            let tree = ours::set_tree::Proving::new(ten)?;
            move || tree.run()
        });
    }
    let count = setting.records(1_000_000);
    contest
        .add("depth × one parent in a chain", Role::Limit, move || hash::path("ns verify", count));
    contest.goal("prove: median under 3 µs", "stemedb-merkle, 1 M", "ns prove", Bar::AtMost(3e3));
    contest.goal(
        "prove: p99 under 6 µs at 10 M",
        "stemedb-merkle, 10 M",
        "ns prove p99",
        Bar::AtMost(6e3),
    );
    contest.goal("verify: under 2.5 µs", "stemedb-merkle, 1 M", "ns verify", Bar::AtMost(2.5e3));
    contest.goal("under 800 B of hashes", "stemedb-merkle, 1 M", "B of hashes", Bar::AtMost(800.0));
    Ok(contest)
}
