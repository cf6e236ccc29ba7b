//! Numbers of 64 bits in JSON: decimal strings, as many programs read a JSON number as a double,
//! which is exact up to 2^53 only.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// Writes a number as a string.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) fn string<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// Writes a number as a string, where there is one.
#[expect(clippy::ref_option, reason = "serde passes references")]
pub(super) fn optional<S: Serializer>(
    number: &Option<u64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    number.map(|number| number.to_string()).serialize(serializer)
}

/// A value in which the numbers of some fields are strings, at any depth.
pub(super) fn within(value: &impl Serialize, fields: &[&str]) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(value)?;
    replace(&mut value, fields);
    Ok(value)
}

fn replace(value: &mut Value, fields: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, fields)),
        Value::Object(object) => {
            for (name, value) in object {
                match value {
                    Value::Number(number) if fields.contains(&name.as_str()) => {
                        *value = Value::String(number.to_string());
                    }
                    value => replace(value, fields),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_numbers_become_strings_wherever_they_are() {
        let value = json!({ "a": u64::MAX, "b": [{ "a": 1, "c": 2 }], "d": { "a": null } });
        let expected =
            json!({ "a": "18446744073709551615", "b": [{ "a": "1", "c": 2 }], "d": { "a": null } });
        assert_eq!(within(&value, &["a"]).unwrap(), expected);
    }
}
