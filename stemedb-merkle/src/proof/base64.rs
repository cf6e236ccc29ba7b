//! Base64 of 32 bytes: RFC 4648, section 4, in its one canonical form.
//!
//! 32 bytes are 43 characters, the last of which carries 4 bits and two zero bits, and one `=`.

use alloc::string::String;

/// Length of the text of 32 bytes.
pub(super) const TEXT_LEN: usize = 44;

/// Writes 32 bytes as 44 characters.
pub(super) fn encode(bytes: &[u8; 32], text: &mut String) {
    let mut buffer = 0_u32;
    let mut bits = 0;
    // One zero byte more fills the last group of four characters.
    for byte in bytes.iter().chain(&[0]) {
        buffer = buffer << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 6 {
            bits -= 6;
            let [_, _, _, low] = (buffer >> bits).to_be_bytes();
            text.push(character(low & 63));
        }
    }
    text.pop();
    text.push('=');
}

/// Reads the text that [`encode`] writes, and no other.
pub(super) fn decode(text: &[u8]) -> Option<[u8; 32]> {
    let (b'=', digits) = text.split_last()? else { return None };
    if digits.len() != TEXT_LEN - 1 {
        return None;
    }
    let mut bytes = [0; 32];
    let mut places = bytes.iter_mut();
    let mut buffer = 0_u32;
    let mut bits = 0;
    for character in digits {
        // At most 6 + 6 bits are alive; those above have been written.
        buffer = (buffer << 6 | u32::from(sextet(*character)?)) & 0x3fff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let [_, _, _, byte] = (buffer >> bits).to_be_bytes();
            *places.next()? = byte;
        }
    }
    // The bits left over belong to no byte.
    (buffer & ((1 << bits) - 1) == 0).then_some(bytes)
}

const fn character(sextet: u8) -> char {
    (match sextet {
        0..26 => b'A' + sextet,
        26..52 => b'a' + sextet - 26,
        52..62 => b'0' + sextet - 52,
        62 => b'+',
        _ => b'/',
    }) as char
}

const fn sextet(character: u8) -> Option<u8> {
    Some(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(bytes: &[u8; 32]) -> String {
        let mut text = String::new();
        encode(bytes, &mut text);
        text
    }

    #[test]
    fn known_texts() {
        assert_eq!(encoded(&[0; 32]), format!("{}=", "A".repeat(43)));
        assert_eq!(encoded(&[0xff; 32]), format!("{}8=", "/".repeat(42)));
        let counting = core::array::from_fn(|n| u8::try_from(n).unwrap());
        assert_eq!(encoded(&counting), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    }

    /// Any other character anywhere gives other bytes or no bytes at all, never the same.
    #[test]
    fn each_value_has_one_text() {
        let bytes = core::array::from_fn(|n| u8::try_from(n * 37 % 256).unwrap());
        let text = encoded(&bytes).into_bytes();
        assert_eq!(decode(&text), Some(bytes));
        for place in 0..text.len() {
            for character in (0..=255).filter(|character| *character != text[place]) {
                let mut other = text.clone();
                other[place] = character;
                if let Some(decoded) = decode(&other) {
                    assert_ne!(decoded, bytes);
                    assert_eq!(encoded(&decoded).into_bytes(), other);
                }
            }
            assert_eq!(decode(&text[..place]), None);
        }
        assert_eq!(decode(&[&text[..], b"="].concat()), None);
        assert_eq!(decode(&[b"A", &text[..]].concat()), None);
    }

    proptest! {
        #[test]
        fn round_trips(bytes in any::<[u8; 32]>()) {
            let text = encoded(&bytes);
            prop_assert_eq!(text.len(), TEXT_LEN);
            prop_assert_eq!(decode(text.as_bytes()), Some(bytes));
        }
    }
}
