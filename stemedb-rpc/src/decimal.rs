//! Numbers of bytes in JSON: decimal strings, since many programs read a JSON number as a double,
//! which is exact up to 2^53 only.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes a number as a string.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(crate) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Reads a number, as a string or as such.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Number(u64),
        Text(String),
    }
    match Given::deserialize(deserializer)? {
        Given::Number(number) => Ok(number),
        Given::Text(text) => text.parse().map_err(D::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use crate::status::DiskStatus;

    #[test]
    fn numbers_of_bytes_are_strings_and_are_read_in_both_forms() {
        let disk = DiskStatus { free: u64::MAX, total: 7, reserve: 0 };
        let json = r#"{"free":"18446744073709551615","total":"7","reserve":"0"}"#;
        assert_eq!(serde_json::to_string(&disk).unwrap(), json);
        assert_eq!(serde_json::from_str::<DiskStatus>(json).unwrap(), disk);
        let numbers = r#"{"free":18446744073709551615,"total":7}"#;
        assert_eq!(serde_json::from_str::<DiskStatus>(numbers).unwrap(), disk);
        assert!(serde_json::from_str::<DiskStatus>(r#"{"free":"-1"}"#).is_err());
    }
}
