//! `history`: proofs of what the log recorded.

use serde_json::Value;
use stemedb::{AssertionId, Hash, LogIndex, LogSize, Root, Timestamp, leaf_hash};
use stemedb_merkle::history::{ConsistencyProof, InclusionProof, TreeHead};

use super::binary::{Place, id_of, lines};

const INCLUSION: [&str; 7] = ["index", "time", "ntp64", "id", "log_size", "log_root", "hashes"];
const CONSISTENCY: [&str; 5] = ["old_size", "old_root", "new_size", "new_root", "hashes"];

fn hash(value: &Value) -> Hash {
    let id: AssertionId = value.as_str().unwrap().parse().unwrap();
    id.0
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap()
}

fn log_root(place: &Place) -> String {
    let root = place.run(&["root", "--json"]).ok();
    let root: Value = serde_json::from_str(root.text()).unwrap();
    root["log_root"].as_str().unwrap().to_owned()
}

#[test]
fn a_proof_of_an_entry_verifies_elsewhere() {
    let place = Place::with(&lines("line", 0..700));
    let root = log_root(&place);
    let id = id_of("line 300");
    let size = ["--size", "700", "--root", &root];
    let outcome = place.run(&[&["history", "inclusion", &id, "--json"][..], &size].concat()).ok();
    let fields = outcome.json(&INCLUSION);
    assert_eq!((&fields["index"], &fields["id"]), (&300.into(), &id.clone().into()));
    assert_eq!(fields["log_root"], root);
    let head = TreeHead {
        size: LogSize(number(&fields["log_size"])),
        root: Root(hash(&fields["log_root"])),
    };
    let leaf = leaf_hash(Timestamp::from_ntp64(number(&fields["ntp64"])), &hash(&fields["id"]));
    let proof = InclusionProof(hashes(&fields["hashes"]));
    proof.verify(&leaf, LogIndex(300), &head).unwrap();

    let other = id_of("another root");
    let wrong = ["history", "inclusion", &id, "--size", "700", "--root", &other];
    place.run(&wrong).fails(3, &other).says(&root);
    place.run(&["history", "inclusion", &id, "--size", "300"]).fails(4, "larger size");
    place.run(&["history", "inclusion", &id, "--size", "701"]).fails(4, "700 entries");
    place.run(&["history", "inclusion", &id, "--root", &root]).fails(2, "--size");
    place.run(&["history", "inclusion", &id_of("nothing")]).fails(4, "holds no assertion");
    place.run(&["history", "inclusion"]).fails(2, "--index");
    let text = place.run(&["history", "inclusion", "--index", "300"]).ok();
    assert!(text.text().starts_with("index     300\n"), "{text:?}");
}

#[test]
fn a_log_that_grew_begins_with_what_was_noted() {
    let place = Place::with(&lines("line", 0..100));
    let old = log_root(&place);
    place.run_with(&["append"], lines("more", 0..500)).ok();
    let new = log_root(&place);
    let outcome = place.run(&["history", "consistency", "100", "--old-root", &old, "--json"]).ok();
    let fields = outcome.json(&CONSISTENCY);
    assert_eq!(
        (&fields["old_root"], &fields["new_root"]),
        (&old.clone().into(), &new.clone().into())
    );
    let head = |size, root| TreeHead {
        size: LogSize(number(&fields[size])),
        root: Root(hash(&fields[root])),
    };
    let proof = ConsistencyProof(hashes(&fields["hashes"]));
    proof.verify(&head("old_size", "old_root"), &head("new_size", "new_root")).unwrap();

    let both = ["history", "consistency", "100", "600", "--old-root", &old, "--root", &new];
    place.run(&both).ok();
    // Another log, with the same lines at other times, does not begin so.
    let other = Place::with(&lines("line", 0..200));
    let asked = ["history", "consistency", "100", "--old-root", &old];
    other.run(&asked).fails(3, "another root at size 100").says(&old);
    place.run(&["history", "consistency", "601"]).fails(4, "600 entries");
    place.run(&["history", "consistency", "7", "6"]).fails(2, "swap them");
    place.run(&["history", "consistency", "x"]).fails(2, "OLD");
}
