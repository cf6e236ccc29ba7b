//! Names of the files that this project makes in a store's directory: all others are somebody
//! else's.

use super::{LOCK_NAME, RemoteDisk};
use crate::{identity::IDENTITY_NAME, log::SPARE_NAME, segment::parse_segment_name};

/// Files that have one name only, but for those of the log. The peers, the state of the scrub, the
/// node's key, the members, and what marks a restore under way are of the crates above.
const SINGLE: [&str; 8] = [
    LOCK_NAME,
    IDENTITY_NAME,
    "PEERS",
    "SCRUB",
    "NODEKEY",
    "MEMBERS",
    "RESTORING",
    "ARCHIVE-RESTORING",
];

/// Nodes of the history tree, which the store above keeps.
const TILES_NAME: &str = "history.tiles";

/// What a file that is in the making has behind its name.
const TEMPORARY: &str = ".tmp";

/// Whether a file of this name is one that a store has, finished or in the making.
pub fn is_store_file(name: &str) -> bool {
    is_finished(name) || is_temporary(name)
}

/// Whether a file of this name is one that a store has in the making: left by a crash, it is
/// removed.
pub fn is_temporary(name: &str) -> bool {
    name == SPARE_NAME || name.strip_suffix(TEMPORARY).is_some_and(is_finished)
}

/// Whether a file of this name is one, finished, that is made of the log or by opening it. All
/// others are made once for a store, and are not made again from what the log has.
pub fn is_log_file(name: &str) -> bool {
    name == TILES_NAME
        || parse_segment_name(name).is_some()
        || RemoteDisk::is_stub(name)
        || is_checkpoint(name)
        || is_aside(name)
}

fn is_finished(name: &str) -> bool {
    SINGLE.contains(&name) || is_log_file(name)
}

fn is_checkpoint(name: &str) -> bool {
    let position = name.strip_prefix("base-").or_else(|| name.strip_prefix("delta-"));
    position
        .and_then(|rest| rest.strip_suffix(".ckpt"))
        .is_some_and(|digits| digits.len() == 20 && is_number(digits))
}

/// `aside-<number>-<what it was>`.
fn is_aside(name: &str) -> bool {
    let rest = name.strip_prefix("aside-").and_then(|rest| rest.split_once('-'));
    rest.is_some_and(|(number, what)| number.len() >= 4 && is_number(number) && !what.is_empty())
}

fn is_number(digits: &str) -> bool {
    digits.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_store_are_its_own() {
        for name in [
            "LOCK",
            "IDENTITY",
            "PEERS",
            "history.tiles",
            "segment-0000-00000000000000000000.log",
            "remote-0001-00000000000000000007.seg",
            "base-00000000000066817021.ckpt",
            "delta-00000000000071002310.ckpt",
            "aside-0001-tail-of-segment-0000-00000000000000000000.log",
            "aside-12345-base-00000000000066817021.ckpt",
        ] {
            assert!(is_store_file(name) && !is_temporary(name), "{name}");
            let temporary = format!("{name}.tmp");
            let is_single = SINGLE.contains(&name);
            assert!(is_log_file(name) != is_single, "{name}");
            assert!(is_store_file(&temporary) && is_temporary(&temporary), "{temporary}");
        }
        assert!(is_temporary("spare.tmp"));
        for name in [
            "thesis.tmp",
            ".tmp",
            "spare",
            "segment-1.log.tmp",
            "base-1.ckpt.tmp",
            "base-0000000000006681702x.ckpt",
            "aside-1-x",
            "aside-0001-",
            "aside-of-mine.tmp",
            "identity.tmp",
            "LOCK.tmp.tmp",
        ] {
            assert!(!is_store_file(name), "{name}");
        }
    }
}
