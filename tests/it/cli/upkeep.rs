//! `checkpoint`, `check`, `repair` and `stats`.

use super::binary::{Place, id_of};

const CHECK: [&str; 9] = [
    "whole",
    "deep",
    "entries",
    "bytes",
    "segments",
    "remote_segments",
    "checkpoints",
    "faults",
    "remarks",
];
const REPAIR: [&str; 9] = [
    "changed",
    "holes",
    "lost_bodies",
    "lost_entries",
    "new_log",
    "refused",
    "dry_run",
    "quarantined",
    "remarks",
];

#[test]
fn a_whole_store_checks_out() {
    let place = Place::with("a\nb\n");
    for (arguments, deep) in
        [(&["check", "--json"][..], false), (&["check", "--deep", "--json"], true)]
    {
        let check = place.run(arguments).ok().json(&CHECK);
        assert_eq!(check["whole"], true);
        assert_eq!(check["deep"], deep);
        assert_eq!(check["entries"], 2);
        assert_eq!(check["faults"], serde_json::json!([]));
    }
    assert!(place.run(&["check"]).ok().text().starts_with("store        whole\n"));
}

#[test]
fn check_lists_every_fault_with_its_entry() {
    let bodies: Vec<String> = (0..40).map(|n| format!("the body of entry number {n:02}")).collect();
    // Opened from a checkpoint, which has not read them, and not opened at all.
    for checkpoint in [true, false] {
        let place = Place::with(&(bodies.join("\n") + "\n"));
        if checkpoint {
            place.run(&["checkpoint"]).ok();
        } else {
            for entry in std::fs::read_dir(place.path(".stemedb")).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_string_lossy().starts_with("checkpoint") {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
        for damaged in [3, 17, 29] {
            place.damage(".stemedb", &bodies[damaged]);
        }
        for depth in [&["check"][..], &["check", "--deep"]] {
            let outcome = place.run(&[depth, &["--json"]].concat()).code(3);
            let json = outcome.json(&CHECK);
            assert_eq!(json["whole"], false);
            let faults: Vec<&str> = json["faults"]
                .as_array()
                .unwrap()
                .iter()
                .map(|fault| fault.as_str().unwrap())
                .collect();
            for damaged in [3, 17, 29] {
                let id = id_of(&bodies[damaged]);
                let names = |fault: &&&str| {
                    fault.contains(&format!("entry {damaged} ")) || fault.contains(&id)
                };
                assert_eq!(faults.iter().filter(names).count(), 1, "{damaged}: {faults:#?}");
            }
            let text = place.run(depth).code(3);
            assert!(text.text().starts_with("store "), "{text:?}");
            text.says("errors, listed above");
        }
    }
}

#[test]
fn a_damaged_checkpoint_is_among_the_faults_of_a_check() {
    let place = Place::with("a\nb\n");
    let json = place.run(&["checkpoint", "--json"]).ok();
    let json = json.json(&["file", "bytes", "count", "log_size"]);
    let file = place.path(json["file"].as_str().unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let outcome = place.run(&["check", "--json"]).code(3);
    let check = outcome.json(&CHECK);
    let faults = check["faults"].as_array().unwrap();
    assert_eq!(
        (faults.len(), &check["whole"], &check["remarks"]),
        (1, &false.into(), &serde_json::json!([]))
    );
    assert!(faults[0].as_str().unwrap().contains("restart checkpoint"), "{faults:?}");
}

#[test]
fn a_checkpoint_is_written_and_changes_no_root() {
    let place = Place::with("a\nb\n");
    let root = place.run(&["root"]).ok().stdout;
    let json = place.run(&["checkpoint", "--json"]).ok();
    let json = json.json(&["file", "bytes", "count", "log_size"]);
    assert_eq!((&json["count"], &json["log_size"]), (&2.into(), &2.into()));
    assert!(place.path(json["file"].as_str().unwrap()).exists());
    place.run(&["checkpoint"]).ok();
    assert_eq!(place.run(&["root"]).ok().stdout, root);
    place.run(&["check", "--deep"]).ok();
}

#[test]
fn damage_is_found_reported_and_repaired_when_asked() {
    let body = "the last body, which is going to be damaged";
    let place = Place::with(&format!("first\nsecond\n{body}\n"));
    place.damage(".stemedb", body);
    place.run(&["check", "--deep"]).code(3).says("repair");
    place.run(&["get", &id_of(body)]).fails(3, "error: ");
    // Nothing but `repair` repairs.
    place.run(&["check", "--deep", "--json"]).code(3);

    let dry = place.run(&["repair", "--json", "--dry-run"]).code(3).json(&REPAIR);
    assert_eq!((&dry["changed"], &dry["lost_bodies"][0]), (&false.into(), &id_of(body).into()));
    place.run(&["check"]).code(3);

    let repair = place.run(&["repair", "--json"]).code(3).says(&id_of(body)).json(&REPAIR);
    assert_eq!(repair["changed"], true);
    assert_eq!((&repair["holes"], &repair["lost_bodies"][0]), (&1.into(), &id_of(body).into()));
    place.run(&["check", "--deep"]).ok();
    place.run(&["repair"]).ok();
    assert!(!repair["quarantined"].as_array().unwrap().is_empty());
    for held in ["first", "second"] {
        assert_eq!(place.run(&["get", &id_of(held)]).ok().text(), held);
    }
    assert_eq!(place.ids().len(), 2);
    // The identical bytes heal it.
    place.run_with(&["append"], body).ok();
    assert_eq!(place.run(&["get", &id_of(body)]).ok().text(), body);
    place.run(&["check", "--deep"]).ok();
}

#[test]
fn a_store_that_is_whole_is_not_repaired() {
    let place = Place::with("a\n");
    let repair = place.run(&["repair", "--json"]).ok().json(&REPAIR);
    assert_eq!(repair["changed"], false);
    assert_eq!(place.run(&["repair"]).ok().text(), "nothing to repair\n");
}

#[test]
fn stats_count_and_draw() {
    let lines: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let place = Place::with(&lines.join("\n"));
    let json: serde_json::Value =
        serde_json::from_str(place.run(&["stats", "--json"]).ok().text()).unwrap();
    for field in ["store_id", "segments", "checkpoints", "bytes_per_assertion", "last_time"] {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert_eq!(json["count"], 1000);
    let log: u64 = json["bytes"]["log"].as_str().unwrap().parse().unwrap();
    assert!(log > lines.concat().len() as u64);
    let subtrees: Vec<u64> =
        json["subtrees"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).collect();
    let mut expected = vec![0; 256];
    for n in 0..1000 {
        expected[usize::from_str_radix(&id_of(n.to_string())[..2], 16).unwrap()] += 1;
    }
    assert_eq!(subtrees, expected);

    let text = place.run(&["stats"]).ok();
    assert!(text.text().contains('█'), "{text:?}");
    assert!(!text.text().contains('\x1b'));
    let empty = Place::new();
    empty.run(&["init"]).ok();
    empty.run(&["stats"]).ok();
    empty.run(&["stats", "--json"]).ok();
}
