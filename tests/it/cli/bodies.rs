//! Bodies that go out as files, lines and JSON, and the ids of files.

use std::collections::BTreeSet;

use serde_json::Value;

use super::binary::{Place, argument, id_of, object};

/// A JPEG's beginning: no text, and with a NUL byte.
const PHOTO: &[u8] = b"\xff\xd8\xff\xe0\x00\x10JFIF\n\x00";

fn root(place: &Place) -> String {
    let root = place.run(&["root", "--json"]).ok();
    let root: Value = serde_json::from_str(root.text()).unwrap();
    root["set_root"].as_str().unwrap().to_owned()
}

#[test]
fn the_id_of_a_file_is_that_of_its_bytes() {
    let place = Place::new();
    place.write("photo.jpg", PHOTO);
    place.write("facts.nt", "one\n\ntwo");
    let ids = place.run(&["id", "photo.jpg", "facts.nt"]).ok();
    assert_eq!(ids.lines(), [id_of(PHOTO), id_of("one\n\ntwo")]);
    let lines = place.run(&["id", "--lines", "facts.nt"]).ok();
    assert_eq!(lines.lines(), [id_of("one"), id_of("two")]);
    assert_eq!(place.run_with(&["id"], "sky").ok().lines(), [id_of("sky")]);
    let json = place.run_with(&["id", "-", "photo.jpg", "--json"], "sky").ok();
    for (line, (id, file)) in
        json.lines().iter().zip([(id_of("sky"), "-"), (id_of(PHOTO), "photo.jpg")])
    {
        let fields = object(line, &["id", "file"]);
        assert_eq!((fields["id"].as_str(), fields["file"].as_str()), (Some(&*id), Some(file)));
    }
    place.run(&["id", "missing"]).fails(1, "missing: cannot read it");
    assert!(!place.path(".stemedb").exists());
}

#[test]
fn ids_of_a_store_with_a_secret_need_the_secret() {
    let place = Place::new();
    place.write("secret", "sixteen bytes ok");
    place.write("wrong", "another secret of enough bytes");
    let keyed = ["--secret-file", "secret"];
    let run = |arguments: &[&str]| place.run_with(&[arguments, &keyed].concat(), "sky").ok();
    let appended = run(&["append", "--ids"]).lines();
    assert_eq!(run(&["id"]).lines(), appended);
    assert_ne!(appended, [id_of("sky")]);
    // Without it the id would be one that no body of this store has.
    place.run_with(&["id"], "sky").fails(2, "secret");
    place.run_with(&["id", "--secret-file", "wrong"], "sky").fails(2, "secret");
    place.run_with(&["prove", "--body", "-"], "sky").fails(2, "secret");

    let proof = run(&["prove", "--body", "-"]).says("present").stdout;
    place.write("proof", proof);
    place.write("sky", "sky");
    let root = root(&place);
    let verify = ["verify", "proof", "--root", &root, "--body", "sky"];
    run(&verify);
    place.run(&verify).code(3).says("is a proof about");
}

#[test]
fn a_proof_is_asked_for_and_checked_by_the_body_itself() {
    let place = Place::with("a\nb\n");
    let (root, elsewhere) = (root(&place), Place::new());
    elsewhere.write("a", "a");
    elsewhere.write("b", "b");
    for (body, word) in [("a", "present"), ("c", "absent")] {
        let proof = place.run_with(&["prove", "--body", "-"], body).ok();
        let verify = ["verify", "-", "--root", &root];
        let verify = |file| [&verify[..], &["--body", file]].concat();
        elsewhere.run_with(&verify("b"), &proof.stdout).code(3).says(&id_of("b"));
        if body == "a" {
            let verified = elsewhere.run_with(&verify("a"), &proof.stdout).ok();
            assert_eq!(verified.text(), format!("{word} {}\n", id_of(body)));
        }
        elsewhere.run_with(&verify("-"), &proof.stdout).fails(2, "standard input");
    }
    place.run(&["prove", &id_of("a"), "--body", "x"]).fails(2, "--body");
    place.run(&["prove"]).fails(2, "--body");
}

#[test]
fn bodies_are_got_by_index_and_into_files() {
    let place = Place::with("a\nbb\nccc\n");
    let outcome = place.run(&["get", "--index", "2", "--index", "0"]).ok();
    assert_eq!(outcome.text(), "ccca");
    place.run(&["get", "--index", "3"]).fails(4, "its log ends with entry 2");
    place.run(&["get", "--index", "0", &id_of("a")]).fails(2, "--index");

    let (a, b) = (id_of("a"), id_of("bb"));
    let outcome = place.run(&["get", &a, &b, "--out", "new/dir"]).ok();
    assert_eq!(outcome.lines(), [format!("new/dir/{a}"), format!("new/dir/{b}")]);
    assert_eq!(std::fs::read(place.path("new/dir").join(&b)).unwrap(), b"bb");
    // What was there gives way, and nothing is left beside it.
    place.write(&format!("new/dir/{a}"), "something else");
    let json = place.run(&["get", &a[..4], "--out", "new/dir", "--json"]).ok();
    let fields = json.json(&["id", "index", "time", "ntp64", "len", "file"]);
    assert_eq!(fields["file"], format!("new/dir/{a}"));
    assert_eq!(std::fs::read(place.path("new/dir").join(&a)).unwrap(), b"a");
    assert_eq!(std::fs::read_dir(place.path("new/dir")).unwrap().count(), 2);
}

/// A store of text, of what is no text, of a line end, and of nothing.
fn of_all_kinds() -> (Place, [&'static [u8]; 4]) {
    let place = Place::new();
    let bodies = [&b"sky"[..], PHOTO, b"two\nlines", b""];
    for (n, body) in bodies.iter().enumerate() {
        let file = place.write(&n.to_string(), body);
        place.run(&["append", "--whole", argument(&file)]).ok();
    }
    (place, bodies)
}

#[test]
fn all_bodies_are_exported_as_json_and_files() {
    let (place, bodies) = of_all_kinds();
    let lines = place.run(&["export"]).ok().lines();
    for (index, (line, body)) in lines.iter().zip(bodies).enumerate() {
        let name = if index == 1 { "base64" } else { "body" };
        let fields = object(line, &["index", "time", "ntp64", "id", "len", name]);
        assert_eq!(fields["id"], id_of(body));
        if index == 1 {
            assert_eq!(fields["base64"], "/9j/4AAQSkZJRgoA");
        } else {
            assert_eq!(fields["body"], std::str::from_utf8(body).unwrap());
        }
    }
    assert_eq!(lines.len(), 4);
    let some = place.run(&["export", "--first", "1", "--last", "2"]).ok();
    assert_eq!(some.lines(), lines[1..=2]);

    let files = place.run(&["export", "--format", "files", "--out", "dir"]).ok();
    assert_eq!(files.lines().len(), 4);
    let found: BTreeSet<_> = std::fs::read_dir(place.path("dir"))
        .unwrap()
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(found.iter().map(Vec::as_slice).eq(BTreeSet::from(bodies)));
    place.run(&["export", "--format", "files"]).fails(2, "--out");
    place.run(&["export", "--out", "dir"]).fails(2, "--format files");
}

#[test]
fn lines_and_nul_ends_export_what_append_takes_back() {
    let place = Place::with("sky\nsea\n");
    let lines = place.run(&["export", "--format", "lines"]).ok();
    assert_eq!(lines.text(), "sky\nsea\n");
    place.run_with(&["append", "-0"], "two\nlines\0more").ok();
    let outcome = place.run(&["export", "--format", "lines"]).code(1);
    assert_eq!(outcome.text(), "sky\nsea\n");
    outcome.says(&format!("entry 2: the body of {}", id_of("two\nlines"))).says("jsonl");

    let nul = place.run(&["export", "--format", "nul"]).ok();
    assert_eq!(nul.text(), "sky\0sea\0two\nlines\0more\0");
    place.run_with(&["append", "-0", "--store", "other"], &nul.stdout).ok();
    let ids = |store| place.run(&["ids", "--store", store]).ok().lines();
    assert_eq!(ids("other"), ids(".stemedb"));

    let (place, _) = of_all_kinds();
    place.run(&["export", "--format", "nul"]).code(1).says("entry 1: ");
}

#[test]
fn a_damaged_body_is_left_out_of_an_export_and_reported() {
    let place = Place::with("the first\nthe second\nthe third\n");
    // Opening reads what no checkpoint covers, and would meet it first.
    place.run(&["checkpoint"]).ok();
    place.damage(".stemedb", "the second");
    let outcome = place.run(&["export", "--format", "lines"]).code(3);
    assert_eq!(outcome.text(), "the first\nthe third\n");
    outcome.says("1 body is lost or damaged").says("note: ");
}
