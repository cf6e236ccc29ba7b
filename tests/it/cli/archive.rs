//! `archive push`, `list`, `verify` and `restore`, with a directory as the archive.

use serde_json::Value;

use super::binary::Place;

const PUSH: [&str; 7] =
    ["segments", "bytes", "manifest", "count", "set_root", "log_size", "log_root"];
const LIST: [&str; 11] = [
    "log",
    "count",
    "set_root",
    "log_size",
    "log_root",
    "manifest",
    "time",
    "segments",
    "bytes",
    "checkpoint_log_size",
    "secret",
];
const RESTORE: [&str; 7] =
    ["count", "set_root", "log_size", "log_root", "epoch", "segments", "bytes"];

fn url(place: &Place) -> String {
    format!("file://{}", place.path("backups").display())
}

#[test]
fn a_store_goes_into_an_archive_and_comes_out() {
    let place = Place::with("a\nb\nc\n");
    let url = url(&place);
    let root = place.run(&["root", "--json"]).ok().json(&PUSH[3..]);
    let nothing = place.run(&["archive", "push", &url, "--json"]).ok().json(&PUSH);
    assert_eq!((&nothing["manifest"], &nothing["set_root"]), (&0.into(), &Value::Null));
    place.run(&["archive", "push", &url]).ok().says("--all");
    place.run(&["archive", "list", &url]).ok().says("no log is in");

    let pushed = place.run(&["archive", "push", &url, "--all", "--json"]).ok().json(&PUSH);
    assert_eq!((&pushed["segments"], &pushed["manifest"]), (&1.into(), &1.into()));
    for field in &PUSH[3..] {
        assert_eq!(pushed[field], root[field], "{field}");
    }
    let again = place.run(&["archive", "push", &url, "--all"]).ok();
    assert!(again.text().starts_with("sent      0 segments, 0 B\n"), "{again:?}");

    let listed = place.run(&["archive", "list", &url, "--json"]).ok().json(&LIST);
    assert_eq!((&listed["count"], &listed["secret"]), (&3.into(), &false.into()));
    let verified = [&["whole", "deep", "read", "faults"][..], &LIST].concat();
    let whole = place.run(&["archive", "verify", &url, "--deep", "--json"]).ok().json(&verified);
    assert_eq!((&whole["whole"], &whole["faults"]), (&true.into(), &serde_json::json!([])));

    let set_root = root["set_root"].as_str().unwrap();
    let restore = ["archive", "restore", &url, "--store", "new", "--root", set_root, "--json"];
    let restored = place.run(&restore).ok().json(&RESTORE);
    assert_eq!((&restored["set_root"], &restored["epoch"]), (&root["set_root"], &2.into()));
    let found = place.run(&["root", "--store", "new", "--json"]).ok().json(&PUSH[3..]);
    assert_eq!(found, root);
    place.run(&["check", "--deep", "--store", "new"]).ok();
    place.run(&restore).fails(1, "is not empty");
    let other = "7".repeat(64);
    place
        .run(&["archive", "restore", &url, "--store", "other", "--root", &other])
        .fails(1, "was expected");
    assert!(!place.path("other").exists());

    let objects = place.path("backups/objects");
    let folder = std::fs::read_dir(objects).unwrap().next().unwrap().unwrap().path();
    let object = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let len = std::fs::metadata(&object).unwrap().len();
    std::fs::write(&object, vec![0; usize::try_from(len).unwrap()]).unwrap();
    let verify = place.run(&["archive", "verify", &url]).code(3);
    assert!(verify.stderr.contains("do not hash to its name"), "{verify:?}");
}

#[test]
fn what_can_not_be_reached_is_reported() {
    let place = Place::with("a\n");
    let gone = url(&place);
    place.run(&["archive", "push", "s3:/bucket"]).fails(2, "s3://BUCKET/PREFIX");
    place.run(&["archive", "list", &gone]).fails(1, "there is no directory");
    std::fs::create_dir(place.path("backups")).unwrap();
    place.run(&["archive", "restore", &gone, "--store", "new"]).fails(4, "holds no log");
    let mut command = place.command(&["archive", "list", "s3://bucket/log"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    let outcome = command.output().unwrap();
    let text = String::from_utf8(outcome.stderr).unwrap();
    assert!(text.contains("AWS_ACCESS_KEY_ID"), "{text}");
    assert_eq!(outcome.status.code(), Some(1));
}
