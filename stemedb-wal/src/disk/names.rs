//! Names of the files that this project makes in a store's directory: all others are somebody
//! else's.

use super::LOCK_NAME;
use crate::{
    identity::IDENTITY_NAME,
    segment::{parse_segment_name, segment_of_stub},
};

/// The name of a segment's file before it is one.
pub const SPARE_NAME: &str = "spare.tmp";

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
    is_live(name) || is_quarantined(name)
}

/// Whether a file of this name is one that the log is made of, or a cache of it.
fn is_live(name: &str) -> bool {
    name == TILES_NAME
        || parse_segment_name(name).is_some()
        || segment_of_stub(name).is_some()
        || is_checkpoint(name)
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

/// Why something was quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quarantine {
    /// It is damaged, or does not belong where it was.
    Damaged,
    /// A crash left it of an append that was never acknowledged.
    Torn,
}

impl Quarantine {
    pub(crate) const fn extension(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Torn => "torn",
        }
    }
}

/// The name of a quarantined file, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quarantined<'a> {
    /// The name of the file that it was, or what of it it was.
    pub(crate) of: &'a str,
    pub(crate) number: u32,
}

/// Takes the name of a quarantined file apart: `<file>.<number>.damaged`, `<file>.<number>.torn`,
/// or, of earlier builds, `aside-<number>-<file>`. `None` for any other name.
pub(crate) fn quarantined(name: &str) -> Option<Quarantined<'_>> {
    let (of, number) = if let Some(rest) = name.strip_prefix("aside-") {
        let (number, of) = rest.split_once('-')?;
        (of, number)
    } else {
        let rest = name.strip_suffix(".damaged").or_else(|| name.strip_suffix(".torn"))?;
        let (of, number) = rest.rsplit_once('.')?;
        let file = of.rsplit_once(".at-").filter(|(_, at)| is_number(at)).map_or(of, |(of, _)| of);
        (is_live(file).then_some(of)?, number)
    };
    let number = Some(number).filter(|number| number.len() >= 4 && is_number(number));
    let number = number?.parse().ok()?;
    (!of.is_empty()).then_some(Quarantined { of, number })
}

/// Whether a file of this name was taken out of use, and is kept for a person to look at.
pub fn is_quarantined(name: &str) -> bool {
    quarantined(name).is_some()
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
            "segment-0000-00000000000000000000.log.0001.torn",
            "segment-0000-00000000000000000000.log.at-8120.0002.damaged",
            "base-00000000000066817021.ckpt.12345.damaged",
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
            "thesis.0001.damaged",
            "segment-0000-00000000000000000000.log.damaged",
            "segment-0000-00000000000000000000.log.01.torn",
            "segment-0000-00000000000000000000.log.at-x.0001.damaged",
            "identity.tmp",
            "LOCK.tmp.tmp",
        ] {
            assert!(!is_store_file(name), "{name}");
        }
    }
}
