//! Assertion ids and roots, and their text form.

use alloc::string::String;
use core::{
    fmt::{self, Write},
    str::FromStr,
};

/// A hash of 32 bytes: of an inner node of a tree, say, or an id as the trees see it.
pub type Hash = [u8; 32];

/// The error of a text that is not an id or a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 64 lowercase hex digits")
    }
}

impl core::error::Error for ParseIdError {}

/// Declares a type of 32 bytes whose text form is 64 lowercase hex digits.
macro_rules! named_hash {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }

        impl From<$name> for [u8; 32] {
            fn from(hash: $name) -> Self {
                hash.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                from_hex(text).map(Self)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(HexVisitor).map(Self)
                } else {
                    serde::Deserialize::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

named_hash! {
    /// The content address of a body: `BLAKE3(body)`, or keyed BLAKE3 where the store has a secret.
    ///
    /// Printed as 64 lowercase hex digits; parsed from exactly that. With the feature `serde` it is
    /// that text in JSON and other forms that people read, and 32 bytes in all others.
    AssertionId
}

named_hash! {
    /// The root of a tree: of a set of assertions, or of the history of a log.
    ///
    /// Printed as 64 lowercase hex digits; parsed from exactly that. With the feature `serde` it is
    /// that text in JSON and other forms that people read, and 32 bytes in all others.
    Root
}

/// Reads the text form.
#[cfg(feature = "serde")]
struct HexVisitor;

#[cfg(feature = "serde")]
impl serde::de::Visitor<'_> for HexVisitor {
    type Value = [u8; 32];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 lowercase hex digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<[u8; 32], E> {
        from_hex(text).map_err(E::custom)
    }
}

fn write_hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).try_for_each(|nibble| {
        f.write_char(char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }))
    })
}

/// Writes bytes as lowercase hex digits, two each.
pub fn to_hex(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    bytes
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| DIGITS.get(usize::from(nibble)))
        .collect()
}

/// Reads 64 lowercase hex digits as 32 bytes.
///
/// # Errors
///
/// If the text is anything else: another length, upper case, other characters.
pub fn from_hex(text: &str) -> Result<[u8; 32], ParseIdError> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return Err(ParseIdError);
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = *pair else { return Err(ParseIdError) };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Ok(bytes)
}

fn digit(character: u8) -> Result<u8, ParseIdError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        _ => Err(ParseIdError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_nothing_else_parses() {
        let id = AssertionId(core::array::from_fn(|n| u8::try_from(n * 7 % 256).unwrap()));
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.to_uppercase().parse::<AssertionId>(), Err(ParseIdError));
        assert_eq!(text.parse(), Ok(Root(id.0)));
        assert_eq!(Root(id.0).to_string(), text);
        assert_eq!(to_hex(id), text);
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace('0', "g"), &"é".repeat(32)]
        {
            assert_eq!(bad.parse::<AssertionId>(), Err(ParseIdError), "{bad}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn json_has_the_text_and_nothing_else_is_read_from_it() {
        let id = AssertionId([0xab; 32]);
        let json = serde_json::to_string(&(id, Root(id.0))).unwrap();
        assert_eq!(json, format!("[\"{id}\",\"{id}\"]"));
        assert_eq!(serde_json::from_str::<(AssertionId, Root)>(&json).unwrap(), (id, Root(id.0)));
        for bad in [json.to_uppercase(), "[[1],[2]]".into(), "[\"ab\",\"ab\"]".into()] {
            assert!(serde_json::from_str::<(AssertionId, Root)>(&bad).is_err(), "{bad}");
        }
    }

    /// A form that people do not read has the bytes alone.
    #[cfg(feature = "serde")]
    #[test]
    fn binary_forms_have_the_bytes() {
        use serde::{
            Deserialize, Serialize,
            de::value::{Error, SeqDeserializer},
        };

        struct Binary<D>(D);
        impl<'de, D: serde::Deserializer<'de>> serde::Deserializer<'de> for Binary<D> {
            type Error = D::Error;

            fn deserialize_any<V: serde::de::Visitor<'de>>(
                self,
                visitor: V,
            ) -> Result<V::Value, D::Error> {
                self.0.deserialize_any(visitor)
            }

            fn is_human_readable(&self) -> bool {
                false
            }

            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option
                unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
                ignored_any
            }
        }

        let bytes = [7_u8; 32];
        let read = Root::deserialize(Binary(SeqDeserializer::<_, Error>::new(bytes.into_iter())));
        assert_eq!(read, Ok(Root(bytes)));
        let short = bytes.into_iter().take(31);
        assert!(Root::deserialize(Binary(SeqDeserializer::<_, Error>::new(short))).is_err());
        let json = serde_json::to_value(bytes).unwrap();
        assert!(json.is_array() && Root(bytes).serialize(serde_json::value::Serializer).is_ok());
    }
}
