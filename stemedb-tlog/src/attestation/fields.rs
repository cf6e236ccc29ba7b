//! Fields that attestations share.

use stemedb_merkle::Hash;

use super::reason::Reason;
use crate::{
    format::Format,
    hex,
    lines::{Lines, number},
    malformed::Malformed,
    name::KeyName,
    note::UnverifiedNote,
};

/// The lines of an attestation's text, behind the first.
pub(super) fn lines<'a>(
    note: &'a UnverifiedNote,
    first_line: &str,
) -> Result<Lines<'a>, Malformed> {
    let mut lines = Lines::new(note.text().as_bytes(), note.place(), Format::Attestation);
    lines.literal(first_line, "it is another kind of attestation, or none")?;
    Ok(lines)
}

/// `time`, POSIX seconds above 0.
pub(super) fn time(lines: &mut Lines<'_>) -> Result<u64, Malformed> {
    lines.field("time", "expected `time` and POSIX seconds above 0", |digits| {
        number(digits).filter(|time| *time > 0)
    })
}

/// `reason`.
pub(super) fn reason(lines: &mut Lines<'_>) -> Result<Reason, Malformed> {
    let rule = "expected `reason`, a lowercase letter and up to 31 of these, digits and hyphens";
    lines.field("reason", rule, Reason::from_bytes)
}

/// `log`.
pub(super) fn log(lines: &mut Lines<'_>) -> Result<KeyName, Malformed> {
    lines.field("log", "expected `log` and an origin", KeyName::from_bytes)
}

/// A hash in hex digits behind a word.
pub(super) fn hash(
    lines: &mut Lines<'_>,
    word: &str,
    rule: &'static str,
) -> Result<Hash, Malformed> {
    lines.field(word, rule, hex::decode)
}

/// The error of a note that does not have exactly one signature line.
pub(super) fn one_line(note: &UnverifiedNote) -> Result<(), Malformed> {
    if note.line_count() == 1 {
        return Ok(());
    }
    let rule = "it has more than one signature line";
    Err(Malformed { format: Format::Attestation, place: note.place(), rule })
}
