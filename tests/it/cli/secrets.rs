//! Stores with a secret.

use super::binary::{Place, id_of};

const SECRET: &str = "sixteen bytes ok";

fn place() -> Place {
    let place = Place::new();
    place.write("secret", SECRET);
    place.write("wrong", "another secret of enough bytes");
    place.run(&["init", "--secret-file", "secret"]).ok();
    place.run_with(&["append", "--secret-file", "secret"], "a\nb\n").ok();
    place
}

#[test]
fn ids_are_keyed() {
    let place = place();
    let ids = place.ids();
    assert_eq!(ids.len(), 2);
    assert!(!ids.contains(&id_of("a")));
    let got: Vec<_> = ids
        .iter()
        .map(|id| place.run(&["get", id, "--secret-file", "secret"]).ok().stdout)
        .collect();
    assert!(got.contains(&b"a".to_vec()) && got.contains(&b"b".to_vec()));
}

#[test]
fn one_trailing_line_end_is_not_part_of_it() {
    let place = place();
    for file in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
        place.write("same", file);
        place.run_with(&["append", "--secret-file", "same"], "a\n").ok();
    }
    for file in [format!("{SECRET}\n\n"), format!("{SECRET} \n"), format!("{SECRET}\r")] {
        place.write("other", file);
        place.run(&["root", "--secret-file", "other"]).fails(2, "secret");
    }
}

#[test]
fn a_wrong_secret_stops_every_opening() {
    let place = place();
    let id = &place.ids()[0];
    for command in [
        &["append"][..],
        &["get", id],
        &["log"],
        &["root"],
        &["ids"],
        &["prove", id],
        &["diff", "."],
        &["checkpoint"],
        &["check"],
        &["repair"],
        &["stats"],
    ] {
        let with = [command, &["--secret-file", "wrong"]].concat();
        place.run_with(&with, "c\n").fails(2, "secret");
    }
    assert_eq!(place.ids().len(), 2);
}

#[test]
fn a_missing_secret_stops_only_what_hashes_bodies() {
    let place = place();
    let id = &place.ids()[0];
    for command in [&["append"][..], &["get", id], &["check", "--deep"]] {
        place.run_with(command, "c\n").fails(2, "--secret-file");
        place.run_with(command, "").fails(2, "--secret-file");
    }
    for command in
        [&["log"][..], &["root"], &["ids"], &["prove", id], &["check"], &["stats"], &["checkpoint"]]
    {
        place.run(command).ok();
    }
    place.run(&["check", "--deep", "--secret-file", "secret"]).ok();
}

#[test]
fn the_environment_names_the_file_too() {
    let place = place();
    let mut command = place.command(&["append"]);
    let child = command.env("STEMEDB_SECRET_FILE", "secret").spawn().unwrap();
    super::binary::finish(child, b"c\n").ok();
    assert_eq!(place.ids().len(), 3);
    // A flag beats the environment.
    let mut command = place.command(&["--secret-file", "secret", "append"]);
    let child = command.env("STEMEDB_SECRET_FILE", "wrong").spawn().unwrap();
    super::binary::finish(child, b"d\n").ok();
}

#[test]
fn a_secret_must_be_long_enough_and_readable() {
    let place = Place::new();
    place.write("short", "fifteen bytes!!\n");
    place.run(&["init", "--secret-file", "short"]).fails(2, "15 bytes");
    place.run(&["init", "--secret-file", "missing"]).fails(2, "missing: cannot read the secret");
    assert!(!place.path(".stemedb").exists());
    // A store without a secret takes none.
    place.write("secret", SECRET);
    place.run(&["init"]).ok();
    place.run(&["root", "--secret-file", "secret"]).fails(2, "secret");
}

#[test]
fn append_makes_a_store_with_a_secret() {
    let place = Place::new();
    place.write("secret", SECRET);
    place.run_with(&["--secret-file", "secret", "append"], "a\n").ok();
    place.run_with(&["append"], "b\n").fails(2, "--secret-file");
    let init = place.run(&["init", "--json", "--store", "two", "--secret-file", "secret"]).ok();
    assert_eq!(init.json(&["store", "secret"])["secret"], true);
}
