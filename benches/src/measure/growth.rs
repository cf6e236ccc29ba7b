//! What everything costs as a store grows.

use crate::Failure;
use crate::contest::{Bar, Contest, Role};
use crate::ours::growth::Sized;
use crate::setting::{LARGE, Setting};

pub(crate) const NAME: &str = "growth";

/// Sizes, and the names that the contenders have by them.
pub(crate) const SIZES: [(&str, u64); 4] =
    [("empty", 0), ("1 M", 1_000_000), ("10 M", LARGE), ("100 M", 100_000_000)];

/// Bytes of disk that a record takes at most while a store is filled: log, history, and two
/// checkpoints.
const DISK_LEN: u64 = 250;

/// Bytes of memory that must be there for 100 M: their tail, and what the system caches of them.
const MEMORY_LEN: u64 = 8 << 30;

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let mut contest = Contest::new(3);
    contest.note(
        "The files of a store are read once before its round. In each round 200,000 reads of \
         random ids, 40,000 proofs, a million records with both roots at the end, and two \
         seconds of 64 tasks that append. Each round appends to a copy of the store, but to the \
         one of 100 M itself. Memory is that of another process which opened the store and then \
         did nothing, mapped files with it.",
    );
    for (name, records) in SIZES {
        let records = setting.records(records);
        if let Some(lacking) = setting.lacks(records * DISK_LEN, MEMORY_LEN)
            && records > LARGE
        {
            contest.note(format!("{name} is skipped: this machine lacks {lacking}."));
            continue;
        }
        let sized = Sized::prepared(setting, records, records <= LARGE)?;
        contest.add(name, Role::Ours, move || sized.run());
    }
    contest.goal(
        "into 10 M at least 0.7 of the rate into an empty one",
        "10 M",
        "bulk, records/s",
        Bar::TimesAtLeast(0.7, "empty", "bulk, records/s"),
    );
    contest.goal(
        "into 100 M at least 0.7 of the rate into an empty one",
        "100 M",
        "bulk, records/s",
        Bar::TimesAtLeast(0.7, "empty", "bulk, records/s"),
    );
    contest.goal(
        "into 100 M at least half the rate into 1 M",
        "100 M",
        "bulk, records/s",
        Bar::TimesAtLeast(0.5, "1 M", "bulk, records/s"),
    );
    contest.goal("100 M: opens in under 20 ms", "100 M", "open, ms", Bar::AtMost(20.0));
    contest.goal("100 M: idle in under 200 MB", "100 M", "idle memory, MB", Bar::AtMost(200.0));
    Ok(contest)
}
