//! Errors on standard error, for people and for programs.

use serde_json::Value;

use super::binary::{Outcome, Place, id_of, object};

/// The one object that standard error is.
fn error_object(outcome: &Outcome, code: i32) -> Value {
    assert_eq!((outcome.code, outcome.text()), (code, ""), "{outcome:?}");
    assert_eq!(outcome.stderr.matches('\n').count(), 1, "{outcome:?}");
    let error = object(&outcome.stderr, &["error", "exit_code"]);
    assert_eq!(error["exit_code"], code);
    error["error"].clone()
}

#[test]
fn errors_are_one_object_where_results_are() {
    let place = Place::with("a\n");
    let absent = id_of("b");
    let run = |arguments: &[&str]| place.run(&[arguments, &["--json"]].concat());
    let error = error_object(&run(&["get", &absent]), 4);
    assert!(error.as_str().unwrap().contains(&absent), "{error}");
    // With all causes, and without colours or a label.
    let error = error_object(&run(&["verify", "missing", "--root", &absent]), 1);
    let text = error.as_str().unwrap();
    assert!(text.starts_with("missing: cannot read it: "), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    // What could not be parsed, too.
    let error = error_object(&run(&["log", "--first", "x"]), 2);
    assert!(error.as_str().unwrap().starts_with("invalid value 'x' for '--first <I>'"), "{error}");
    error_object(&run(&["nonsense"]), 2);
    error_object(&run(&["root", "--store", "other"]), 4);
    error_object(&run(&["root", "--from", "127.0.0.1:1"]), 1);
    // Behind two dashes it is a name.
    let outcome = place.run(&["verify", "--", "--json"]).code(2);
    assert!(outcome.stderr.starts_with("error: "), "{outcome:?}");
}

#[test]
fn notes_are_objects_where_results_are() {
    let place = Place::new();
    let outcome = place.run_with(&["append", "--json"], "a\n").ok();
    assert_eq!(object(&outcome.stderr, &["note"])["note"], "made a store at .stemedb");
    let outcome = place.run_with(&["append", "--store", "new"], "a\n").ok();
    assert_eq!(outcome.stderr, "note: made a store at new\n");
    let outcome = place.run(&["prove", &id_of("a"), "--json"]).ok();
    assert_eq!(outcome.stderr, "");
}

#[test]
fn numbers_that_can_pass_2_to_53_are_strings_of_digits() {
    let place = Place::with("a\n");
    let id = id_of("a");
    let number = |value: &Value| {
        let digits = value.as_str().unwrap_or_else(|| panic!("{value}"));
        assert_eq!(digits.parse::<u64>().unwrap().to_string(), digits);
    };
    for (command, pointer) in [
        (&["log"][..], "/ntp64"),
        (&["get", &id], "/ntp64"),
        (&["export"], "/ntp64"),
        (&["history", "inclusion", &id], "/ntp64"),
        (&["stats"], "/bytes/log"),
        (&["stats"], "/bytes/memory"),
        (&["check"], "/bytes"),
        (&["scrub"], "/bytes"),
        (&["checkpoint"], "/bytes"),
        (&["backup", "kept"], "/bytes_copied"),
    ] {
        let outcome = place.run(&[command, &["--json"]].concat()).ok();
        let value: Value = serde_json::from_str(outcome.text()).unwrap();
        number(value.pointer(pointer).unwrap());
    }
}
