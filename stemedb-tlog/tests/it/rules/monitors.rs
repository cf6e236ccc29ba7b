//! Verdicts of a monitor.

use stemedb_merkle::{AssertionId, LogIndex, LogSize, Root, Timestamp, history::TreeHead};
use stemedb_tlog::{
    entry_bundle::LogEntry,
    heads::Heads,
    monitor::{BadEntry, EntryCheck, Growth, Verdict, compare_heads},
    name::KeyName,
};

use crate::vectors::tree;

fn head(size: u64) -> TreeHead {
    tree().head_at(LogSize(size)).unwrap()
}

fn forked(size: u64) -> TreeHead {
    TreeHead { root: Root([7; 32]), ..head(size) }
}

#[test]
fn heads_are_compared_by_the_larger_tree() {
    let root_at = |size| Some(head(LogSize::get(size)).root);
    let other_root_at = |_| Some(Root([8; 32]));
    let compare = |last: &TreeHead, new: &TreeHead| compare_heads(Some(last), new, root_at);
    assert_eq!(compare_heads(None, &head(5), root_at), Growth::Grown { from: LogSize(0) });
    let from_5 = Growth::Grown { from: LogSize(5) };
    assert_eq!(compare(&head(5), &head(5)), from_5);
    assert_eq!(compare(&head(5), &head(9)), from_5);
    assert_eq!(compare(&head(9), &head(5)), Growth::Smaller);
    assert_eq!(compare(&head(5), &forked(5)), Growth::Fork);
    assert_eq!(compare(&forked(5), &head(9)), Growth::Fork);
    assert_eq!(compare_heads(Some(&head(5)), &forked(9), other_root_at), Growth::Fork);
    assert_eq!(compare_heads(Some(&head(9)), &forked(5), root_at), Growth::Fork);
    // What cannot be read is no fork.
    assert_eq!(compare_heads(Some(&head(5)), &head(9), |_| None), Growth::Unknown);
    // Empty logs are normal.
    assert_eq!(compare(&head(0), &head(9)), Growth::Grown { from: LogSize(0) });
    assert_eq!(compare(&head(9), &head(0)), Growth::Smaller);
}

#[test]
fn verdicts() {
    let grown = Growth::Grown { from: LogSize(1) };
    let bad = Err(BadEntry::Time { index: LogIndex(1) });
    for (growth, fresh, entries, expected) in [
        (grown, true, Some(&Ok(())), "ok"),
        (grown, false, Some(&Ok(())), "stale"),
        (grown, true, Some(&bad), "bad-entry"),
        (grown, true, None, "unavailable"),
        (Growth::Unknown, true, Some(&Ok(())), "unavailable"),
        (Growth::Smaller, true, None, "rollback"),
        (Growth::Fork, true, None, "fork"),
    ] {
        let verdict = Verdict::of(growth, fresh, entries);
        assert_eq!(verdict.to_string(), expected);
        assert_eq!(verdict.advances(), matches!(expected, "ok" | "stale"));
        let code = match expected {
            "ok" | "stale" => 0,
            "unavailable" => 1,
            _ => 3,
        };
        assert_eq!(verdict.exit_code(), code);
    }
}

#[test]
fn entries_follow_their_rules() {
    let entry =
        |time, id| LogEntry { time: Timestamp::from_ntp64(time), id: AssertionId([id; 32]) };
    let mut seen = std::collections::BTreeSet::new();
    let mut check = EntryCheck::resume(LogSize(5), Some(Timestamp::from_ntp64(10)));
    let mut run =
        |check: &mut EntryCheck, entries: &[LogEntry]| check.check(entries, |id| seen.insert(*id));
    assert_eq!(run(&mut check, &[entry(11, 1), entry(12, 2)]), Ok(()));
    assert_eq!((check.next(), check.last_time()), (LogIndex(7), Some(Timestamp::from_ntp64(12))));
    let time = Err(BadEntry::Time { index: LogIndex(7) });
    assert_eq!(run(&mut check, &[entry(12, 3)]), time);
    let twice = BadEntry::Duplicate { index: LogIndex(8), id: AssertionId([1; 32]) };
    assert_eq!(run(&mut check, &[entry(13, 3), entry(14, 1)]), Err(twice));
    assert_eq!(EntryCheck::resume(LogSize(0), None).check(&[entry(0, 1)], |_| true), Ok(()));
}

#[test]
fn a_wrong_heads_assertion_convicts_its_log_alone() {
    let origin = KeyName::new("log").unwrap();
    let heads = Heads { log: origin.clone(), upto: LogSize(5), set_root: Root([1; 32]) };
    let check = |origin: &KeyName, index, root| {
        EntryCheck::check_heads(origin, LogIndex(index), &heads, |_| Root([root; 32])).is_ok()
    };
    assert!(check(&origin, 5, 1));
    assert!(!check(&origin, 5, 2));
    assert!(!check(&origin, 4, 1));
    assert!(check(&KeyName::new("other").unwrap(), 4, 2));
}
