//! Files that other programs remove, replace, or keep beside a store.

use std::{io::ErrorKind, path::Path};

use super::tools::{Serving, contents, ended_by_itself};
use crate::cli::binary::{Place, id_of, lines};

/// Appends to a server, and says whether it acknowledged.
fn appends(place: &Place, serving: &Serving, body: &str) -> bool {
    let outcome = place.run_with(&["append", "--to", &serving.address], format!("{body}\n"));
    ended_by_itself(&outcome);
    outcome.code == 0
}

/// Removes a directory into which somebody may still write.
fn remove(dir: &Path) {
    for _ in 0..100 {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            removed => return removed.unwrap(),
        }
    }
    panic!("{} stays", dir.display());
}

#[test]
#[ignore = "takes seconds: .ci/run"]
fn a_removed_lock_loses_nothing_that_was_acknowledged() {
    let place = Place::with(&lines("body", 0..100));
    let serving = Serving::node(&place, ".stemedb");
    std::fs::remove_file(place.path(".stemedb/LOCK")).unwrap();
    let mut acknowledged = vec![];
    let second = place.run_with(&["append"], "second\n");
    ended_by_itself(&second);
    if second.code == 0 {
        acknowledged.push("second");
    }
    if appends(&place, &serving, "third") {
        acknowledged.push("third");
    }
    serving.stop();
    let held = place.ids();
    assert!(held.len() >= 100);
    for body in acknowledged {
        assert!(held.contains(&id_of(body)), "{body} was acknowledged");
    }
    place.run(&["check", "--deep"]).ok();
}

#[test]
#[ignore = "takes seconds: .ci/run"]
fn a_removed_directory_takes_no_appends() {
    let place = Place::with(&lines("body", 0..100));
    let serving = Serving::node(&place, ".stemedb");
    remove(&place.path(".stemedb"));
    assert!(!appends(&place, &serving, "lost"));
    serving.answers("/readyz", 503);
    // Started again, it would find no store.
    serving.answers("/livez", 200);
}

#[test]
#[ignore = "takes seconds: .ci/run"]
fn an_idle_node_notices_that_its_directory_is_gone() {
    let place = Place::with(&lines("body", 0..100));
    let serving = Serving::node(&place, ".stemedb");
    serving.answers("/readyz", 200);
    remove(&place.path(".stemedb"));
    serving.answers("/readyz", 503);
}

/// The old process goes on with its own store or stops; it never touches the new one.
#[test]
#[ignore = "takes seconds: .ci/run"]
fn a_store_that_was_moved_and_replaced_is_not_mistaken() {
    let place = Place::with(&lines("body", 0..100));
    let serving = Serving::node(&place, ".stemedb");
    std::fs::rename(place.path(".stemedb"), place.path("moved")).unwrap();
    place.run_with(&["append"], "new store\n").ok();
    let acknowledged = appends(&place, &serving, "old store");
    place.run_with(&["append"], lines("more", 0..50)).ok();
    serving.stop();
    assert_eq!(place.ids().len(), 51);
    place.run(&["check", "--deep"]).ok();
    place.run(&["check", "--deep", "--store", "moved"]).ok();
    let moved = place.run(&["ids", "--store", "moved"]).ok().lines();
    assert!(!acknowledged || moved.contains(&id_of("old store")));
    assert!(moved.len() >= 100);
}

#[test]
#[ignore = "takes seconds: .ci/run"]
fn files_of_others_stay_as_they_are() {
    let place = Place::with("a\n");
    for name in ["notes.tmp", "export.csv.tmp", "x", ".hidden"] {
        place.write(&format!(".stemedb/{name}"), name);
    }
    place.run_with(&["append"], "b\n").ok();
    place.run(&["checkpoint"]).ok();
    place.run(&["check", "--deep"]).ok();
    let held = contents(&place.path(".stemedb"));
    for name in ["notes.tmp", "export.csv.tmp", "x", ".hidden"] {
        assert_eq!(held.get(Path::new(name)).unwrap(), name.as_bytes());
    }
}

#[test]
#[ignore = "takes seconds: .ci/run"]
fn no_store_is_made_among_files_of_others_unless_forced() {
    let place = Place::new();
    for (dir, name, made) in
        [("a", "thesis.tex", false), ("b", ".nfs0001", true), ("c", "lost+found/x", true)]
    {
        let path = place.path(dir).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "precious").unwrap();
        let before = contents(&place.path(dir));
        let outcome = place.run(&["init", "--store", dir]);
        assert_eq!(outcome.code == 0, made, "{dir}: {outcome:?}");
        if !made {
            assert_eq!(contents(&place.path(dir)), before);
            let appended = place.run_with(&["append", "--store", dir], "x\n");
            assert_ne!(appended.code, 0, "{appended:?}");
            assert_eq!(contents(&place.path(dir)), before);
            place.run(&["init", "--force", "--store", dir]).ok();
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
