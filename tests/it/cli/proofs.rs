//! `prove` and `verify`.

use super::binary::{Place, argument, id_of};

const PROVE: [&str; 7] = ["id", "present", "count", "set_root", "siblings", "file", "proof"];
const VERIFY: [&str; 5] = ["verified", "id", "present", "count", "set_root"];

fn root(place: &Place) -> String {
    let root = place.run(&["root", "--json"]).ok();
    let root = root.json(&["count", "set_root", "log_size", "log_root"]);
    root["set_root"].as_str().unwrap().to_owned()
}

#[test]
fn presence_and_absence_are_proved_and_verified_without_a_store() {
    let place = Place::with("a\nb\nc\nd\n");
    let elsewhere = Place::new();
    let root = root(&place);
    for (body, word, other) in [("c", "present", "--absent"), ("x", "absent", "--present")] {
        let id = id_of(body);
        let proof = place.run(&["prove", &id]).ok().says(&format!("{word} {id}"));
        let verify = ["verify", "-", "--root", &root];
        let outcome = elsewhere.run_with(&verify, &proof.stdout).ok();
        assert_eq!(outcome.text(), format!("{word} {id}\n"));
        let asked = format!("--{word}");
        elsewhere.run_with(&[&verify[..], &[&asked]].concat(), &proof.stdout).ok();
        let wrong = elsewhere.run_with(&[&verify[..], &[other]].concat(), &proof.stdout).code(3);
        assert_eq!(wrong.text(), format!("{word} {id}\n"));
        wrong.says("error: ");
    }
    assert!(!elsewhere.path(".stemedb").exists());
}

#[test]
fn a_proof_goes_to_a_file() {
    let place = Place::with("a\nb\n");
    let id = id_of("a");
    let outcome = place.run(&["prove", &id[..8], "-o", "p.stemedb-proof"]).ok();
    assert!(outcome.stdout.is_empty());
    let file = std::fs::read_to_string(place.path("p.stemedb-proof")).unwrap();
    let printed = place.run(&["prove", &id]).ok();
    assert_eq!(file, printed.text());
    assert!(file.starts_with(&format!("stemedb.dev/set-proof@v1\nid {id}\nroot ")), "{file}");

    let json = place.run(&["prove", &id, "--json", "-o", "q"]).ok().json(&PROVE);
    assert_eq!(json["id"], id.as_str());
    assert_eq!(json["present"], true);
    assert_eq!(json["count"], 2);
    assert_eq!(json["set_root"], root(&place).as_str());
    assert_eq!(json["file"], "q");
    assert_eq!(json["proof"], file.as_str());
    // Two siblings less the terminal's line and the four of the head.
    assert_eq!(json["siblings"], file.lines().count() - 5);
    assert_eq!(std::fs::read_to_string(place.path("q")).unwrap(), file);
    let json = place.run(&["prove", &id_of("x"), "--json"]).ok().json(&PROVE);
    assert_eq!(json["present"], false);
    assert!(json["file"].is_null());

    place.run(&["prove", &id, "-o", "no/such/dir"]).code(1).says("cannot write the proof");
    place.run(&["prove", &id_of("x")[..8]]).fails(4, "error: ");
}

#[test]
fn verify_refuses_other_roots_and_damaged_proofs() {
    let place = Place::with("a\nb\nc\nd\ne\n");
    let root = root(&place);
    let proof = place.run(&["prove", &id_of("a")]).ok().text().to_owned();
    place.write("p", &proof);
    let other = id_of("some root");
    place.run(&["verify", "p", "--root", &other]).fails(3, &other);
    let json = place.run(&["verify", "p", "--root", &root, "--json"]).ok().json(&VERIFY);
    assert_eq!((&json["verified"], &json["present"]), (&true.into(), &true.into()));
    let json = place.run(&["verify", "p", "--root", &other, "--json"]).code(3).json(&VERIFY);
    assert_eq!(json["verified"], false);

    // The file's own word for the root must agree, too.
    place.write("p", proof.replace(&root, &other));
    place.run(&["verify", "p", "--root", &root]).fails(3, "does not verify");
    place.run(&["verify", "p", "--root", &other]).fails(3, "does not verify");
    place.write("p", proof.replace("count 5", "count 6"));
    place.run(&["verify", "p", "--root", &root]).fails(3, "does not verify");
    place.write("p", proof.replace(&id_of("a"), &id_of("b")));
    place.run(&["verify", "p", "--root", &root]).fails(3, "does not verify");
}

#[test]
fn what_is_no_proof_file_is_wrong_usage() {
    let place = Place::with("a\nb\nc\n");
    let root = root(&place);
    let proof = place.run(&["prove", &id_of("a")]).ok().text().to_owned();
    let cut = &proof[..proof.len() - 1];
    for bad in [
        "",
        "hello\n",
        cut,
        &proof.replace('\n', "\r\n"),
        &format!("{proof}\n"),
        &"x".repeat(1 << 20),
    ] {
        place.write("p", bad);
        place.run(&["verify", "p", "--root", &root]).fails(2, "not a proof file");
    }
    place.write("p", [0xff; 100]);
    place.run(&["verify", "p", "--root", &root, "--json"]).fails(2, "not a proof file");
    place.run(&["verify", "missing", "--root", &root]).fails(1, "missing: cannot read it");
    place.run(&["verify", ".stemedb", "--root", &root]).fails(1, "cannot read it");
}

#[test]
fn a_root_is_64_digits() {
    let place = Place::with("a\n");
    let root = root(&place);
    let proof = place.run(&["prove", &id_of("a")]).ok();
    place.write("p", &proof.stdout);
    for bad in [&root[..63], &format!("{root}0"), "", &"g".repeat(64)] {
        place.run(&["verify", "p", "--root", bad]).fails(2, "--root");
    }
    place.run(&["verify", "p"]).fails(2, "--root");
    let both = ["verify", "p", "--root", &root, "--present", "--absent"];
    place.run(&both).fails(2, "cannot be used with");
    place.run(&["verify", argument(&place.path("p")), "--root", &root, "--present"]).ok();
}
