//! Texts from elsewhere, made harmless for a terminal.

use std::borrow::Cow;

/// A text without characters that a terminal obeys, that end a line, or that turn the direction of
/// what follows: each is written as its number.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| {
        if is_harmful(c) { c.escape_unicode().to_string() } else { c.to_string() }
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Whether a character is a control character, or one that reorders or breaks lines.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        assert_eq!(plain("Zoë 猫"), "Zoë 猫");
        for (text, written) in [
            ("\x1b[2J", "\\u{1b}[2J"),
            ("a\nb\r", "a\\u{a}b\\u{d}"),
            ("\u{9b}1m", "\\u{9b}1m"),
            ("\x7f", "\\u{7f}"),
            ("\u{202e}abc", "\\u{202e}abc"),
        ] {
            assert_eq!(plain(text), written);
        }
    }
}
