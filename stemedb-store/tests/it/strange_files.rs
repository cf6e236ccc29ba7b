//! Files of a store that are no files: the opening says so, or does without a cache, and never
//! hangs.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a helper that is not a test itself uses it")]

use std::{path::Path, process::Command, sync::mpsc, thread, time::Duration};

use stemedb_store::{Head, OpenError, Options, Store};

fn body(n: u32) -> String {
    format!("assertion {n} {}", "x".repeat(n as usize % 100))
}

fn options() -> Options {
    Options::default().segment_len(16 << 10)
}

fn make(dir: &Path) -> Head {
    let store = Store::open(dir, options()).unwrap();
    store.append_batch((0..600).map(body)).unwrap();
    store.checkpoint().unwrap();
    store.append_batch((600..700).map(body)).unwrap();
    let head = store.head().unwrap();
    store.close().unwrap();
    head
}

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// What opening comes to; fails the test if that takes too long.
fn open(dir: &Path) -> Result<Head, OpenError> {
    let (done, result) = mpsc::channel();
    let dir = dir.to_path_buf();
    thread::spawn(move || {
        let opened = Store::open(&dir, options()).map(|store| store.head().unwrap());
        // Nobody is there if it took too long.
        let _ = done.send(opened);
    });
    result.recv_timeout(Duration::from_secs(30)).unwrap()
}

#[test]
fn directories_pipes_and_links_in_place_of_files() {
    let original = tempfile::tempdir().unwrap();
    let head = make(original.path());
    let names = std::fs::read_dir(original.path()).unwrap();
    let names: Vec<_> = names.map(|file| file.unwrap().file_name()).collect();
    assert!(names.len() > 5, "{names:?}");
    let (mut refused, mut opened) = (0, 0);
    for name in &names {
        let text = name.to_str().unwrap();
        for kind in ["directory", "pipe", "loop", "nowhere"] {
            let dir = tempfile::tempdir().unwrap();
            copy(original.path(), dir.path());
            let path = dir.path().join(name);
            std::fs::remove_file(&path).unwrap();
            match kind {
                "directory" => std::fs::create_dir(&path).unwrap(),
                "pipe" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                "loop" => std::os::unix::fs::symlink(&path, &path).unwrap(),
                _ => std::os::unix::fs::symlink("/nowhere/at/all", &path).unwrap(),
            }
            let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
            let cache = matches!(extension, Some("ckpt" | "tiles"));
            // Nothing is read from it, and a pipe can be locked.
            let lock = text == "LOCK" && kind == "pipe";
            match open(dir.path()) {
                Ok(found) => {
                    assert!(cache || lock, "{kind} in place of {text}");
                    assert_eq!(found, head, "{kind} in place of {text}");
                    opened += 1;
                }
                Err(error) => {
                    let said = error.to_string();
                    assert!(said.len() > 20, "{kind} in place of {text}: {said}");
                    refused += 1;
                }
            }
            // Once the file is back, so is everything.
            if !cache {
                if path.is_dir() {
                    std::fs::remove_dir(&path).unwrap();
                } else {
                    std::fs::remove_file(&path).unwrap();
                }
                std::fs::copy(original.path().join(name), &path).unwrap();
                assert_eq!(open(dir.path()).unwrap(), head, "{text} put back after {kind}");
            }
        }
    }
    assert!(refused > 10, "{refused} refused");
    assert!(opened > 0, "{opened} opened");
}
