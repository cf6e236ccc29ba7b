//! Ids as people type them, and `ids`.

use serde_json::json;

use super::binary::{Place, id_of};

#[test]
fn ids_are_listed_sorted() {
    let place = Place::with("a\nb\nc\n");
    let mut expected = ["a", "b", "c"].map(id_of);
    expected.sort();
    assert_eq!(place.ids(), expected);
    let json = place.run(&["ids", "--json"]).ok().json(&["ids"]);
    assert_eq!(json["ids"], json!(expected));
    let empty = Place::new();
    empty.run(&["init"]).ok();
    assert_eq!(empty.run(&["ids", "--json"]).ok().text(), "{\"ids\":[]}\n");
}

#[test]
fn what_is_no_id_is_wrong_usage() {
    let place = Place::with("a\n");
    let id = id_of("a");
    for (bad, says) in [
        (id[..3].to_owned(), "the first 4 or more"),
        (String::new(), "value"),
        (format!("{id}0"), "this has 65"),
        (format!("{}g", &id[..20]), "only the hex digits"),
        ("é".repeat(8), "only the hex digits"),
    ] {
        for command in ["get", "prove"] {
            place.run(&[command, &bad]).fails(2, says);
        }
    }
}

#[test]
fn four_digits_are_enough_and_their_case_does_not_matter() {
    let place = Place::with("a\nb\n");
    let id = id_of("a");
    for text in [&id[..4], &id[..5], &id[..4].to_uppercase(), &id.to_uppercase()] {
        assert_eq!(place.run(&["get", text]).ok().text(), "a", "{text}");
        place.run(&["prove", text]).ok().says(&format!("present {id}"));
    }
    let proof = place.run(&["prove", &id]).ok().stdout;
    let root = place.run(&["root", "--json"]).ok();
    let root: serde_json::Value = serde_json::from_str(root.text()).unwrap();
    let root = root["set_root"].as_str().unwrap().to_uppercase();
    let verify = ["verify", "-", "--root", &root, "--id", &id.to_uppercase()];
    place.run_with(&verify, proof).ok();
}

#[test]
fn a_prefix_of_two_is_ambiguous() {
    // Two bodies whose ids share 8 digits, found by search: birthday over 32 bits.
    let mut seen = std::collections::HashMap::new();
    let duplicates = (0_u32..).find_map(|n| {
        let id = id_of(n.to_string());
        seen.insert(id[..8].to_owned(), n).map(|duplicate| (duplicate, n))
    });
    let (one, other) = duplicates.unwrap();
    let place = Place::with(&format!("{one}\n{other}\n"));
    let (id, duplicate) = (id_of(one.to_string()), id_of(other.to_string()));
    place.run(&["get", &id[..8]]).fails(2, &id[..8]);
    let shared = id.bytes().zip(duplicate.bytes()).take_while(|(one, other)| one == other).count();
    assert_eq!(place.run(&["get", &id[..=shared]]).ok().text(), one.to_string());
    assert_eq!(place.run(&["get", &duplicate[..=shared]]).ok().text(), other.to_string());
}
