//! Snapshots of the set tree, and what they cost the writer.

use crate::Failure;
use crate::contest::{Bar, Contest};
use crate::setting::Setting;
use crate::{body, contest::Role, ours};

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(5);
    {
        use ours::set_tree::{Snapshots, inserts_while};
        use std::rc::Rc;
        let ids = Rc::new(body::ids(0, setting.records(1_000_000)));
        let more = Rc::new(body::ids(1 << 50, setting.records(1_000_000) / 5));
        for (name, snapshots) in [
            ("no snapshot", Snapshots::None),
            ("one snapshot held", Snapshots::Held),
            ("a snapshot every 1,000", Snapshots::Every(1000)),
        ] {
            let (ids, more) = (Rc::clone(&ids), Rc::clone(&more));
            contest.add(name, Role::Ours, move || inserts_while(&ids, &more, snapshots));
        }
    }
    contest.goal("under 1 µs", "no snapshot", "ns a snapshot", Bar::AtMost(1000.0));
    contest.goal(
        "inserts keep 90 % of their rate while one is held",
        "one snapshot held",
        "inserts/s",
        Bar::TimesAtLeast(0.9, "no snapshot", "inserts/s"),
    );
    contest.goal(
        "70 % when one is taken every 1,000",
        "a snapshot every 1,000",
        "inserts/s",
        Bar::TimesAtLeast(0.7, "no snapshot", "inserts/s"),
    );
    Ok(contest)
}
