//! One suite that every disk must pass: the simulated ones are only worth something if the real
//! one obeys the same tests.

use std::{
    io::ErrorKind,
    sync::{Mutex, PoisonError},
};

use stemedb_simdisk::FaultyDisk;
use stemedb_wal::disk::{Bytes, Disk, FileDisk, LOCK_NAME, MemoryDisk};

/// Held by tests that need maps, and by one that takes all that there may be.
pub(crate) static MAPS: Mutex<()> = Mutex::new(());

/// Runs `check` on a fresh disk of each kind.
fn on_each_disk(check: impl Fn(&dyn Disk)) {
    check(&MemoryDisk::new());
    check(&FaultyDisk::new(1));
    let dir = tempfile::tempdir().unwrap();
    check(&FileDisk::create(dir.path().join("made/with/parents")).unwrap());
}

fn contents(disk: &dyn Disk, name: &str) -> Vec<u8> {
    all_of(&*disk.map(name, false).unwrap())
}

fn all_of(bytes: &dyn Bytes) -> Vec<u8> {
    let mut all = vec![0; bytes.len()];
    bytes.read_at(&mut all, 0).unwrap();
    all
}

#[test]
fn what_is_written_is_read() {
    on_each_disk(|disk| {
        let file = disk.create("a").unwrap();
        assert_eq!(file.len().unwrap(), 0);
        file.write_at(b"hello", 3).unwrap();
        file.write_at(b"", 100).unwrap();
        assert_eq!(file.len().unwrap(), 8);
        let mut buffer = [0xFF; 10];
        assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 7);
        assert_eq!(&buffer, b"\0\0hello\xFF\xFF\xFF");
        assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 0);
        assert_eq!(file.read_at(&mut buffer, u64::MAX).unwrap(), 0);
        assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
        file.sync().unwrap();
        let other = disk.open("a").unwrap();
        other.write_at(b"J", 3).unwrap();
        assert_eq!(file.read_at(&mut buffer[..5], 3).unwrap(), 5);
        assert_eq!(&buffer[..5], b"Jello");
    });
}

#[test]
fn lengths_change_as_asked() {
    on_each_disk(|disk| {
        let file = disk.create("a").unwrap();
        file.write_at(&[7; 5000], 0).unwrap();
        file.set_len(100).unwrap();
        assert_eq!(file.len().unwrap(), 100);
        file.set_len(200).unwrap();
        let mut expected = vec![7; 100];
        expected.resize(200, 0);
        assert_eq!(contents(disk, "a"), expected, "what was cut off does not come back");

        file.allocate(5).unwrap();
        file.allocate(0).unwrap();
        assert_eq!(contents(disk, "a"), expected, "allocating never cuts");
        file.allocate(10_000).unwrap();
        expected.resize(10_000, 0);
        assert_eq!(contents(disk, "a"), expected);
        assert!(file.write_at(&[1], u64::MAX).is_err());
        assert!(file.set_len(u64::MAX).is_err());
        assert!(file.allocate(u64::MAX).is_err());
        assert_eq!(file.len().unwrap(), 10_000);
    });
}

#[test]
fn names_are_sorted_and_files_keep_theirs_apart() {
    on_each_disk(|disk| {
        assert!(disk.list().unwrap().is_empty());
        for name in ["b.log", "a-2", "A_1", ".x"] {
            disk.create(name).unwrap().write_at(name.as_bytes(), 0).unwrap();
        }
        assert_eq!(disk.list().unwrap(), [".x", "A_1", "a-2", "b.log"]);
        disk.rename("b.log", "a-2").unwrap();
        assert_eq!(disk.list().unwrap(), [".x", "A_1", "a-2"]);
        assert_eq!(contents(disk, "a-2"), b"b.log");
        disk.rename("a-2", "a-2").unwrap();
        assert_eq!(contents(disk, "a-2"), b"b.log");
        disk.remove("A_1").unwrap();
        disk.sync_dir().unwrap();
        assert_eq!(disk.list().unwrap(), [".x", "a-2"]);
        assert!(disk.path("a-2").to_str().unwrap().ends_with("a-2"));
    });
}

#[test]
fn what_is_missing_is_not_found() {
    on_each_disk(|disk| {
        assert_eq!(disk.open("a").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.rename("a", "b").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.map("a", true).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(disk.map("a", false).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn names_do_not_leave_the_directory() {
    on_each_disk(|disk| {
        for name in ["", ".", "..", "../a", "a/b", "/a", "a\0", "a b", "ä", "C:\\x"] {
            assert_eq!(disk.create(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
            assert_eq!(disk.open(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
            assert_eq!(disk.remove(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
            assert_eq!(disk.map(name, true).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
            assert!(disk.rename(name, "a").is_err() && disk.rename("a", name).is_err(), "{name}");
        }
    });
}

#[test]
fn creating_again_empties_the_file_for_all() {
    on_each_disk(|disk| {
        let file = disk.create("a").unwrap();
        file.write_at(b"old", 0).unwrap();
        disk.create("a").unwrap();
        assert_eq!(file.len().unwrap(), 0);
    });
}

#[test]
fn an_open_file_outlives_its_name() {
    on_each_disk(|disk| {
        let removed = disk.create("a").unwrap();
        removed.write_at(b"gone", 0).unwrap();
        let map = disk.map("a", true).unwrap();
        disk.remove("a").unwrap();
        disk.sync_dir().unwrap();
        disk.create("a").unwrap().write_at(b"anew", 0).unwrap();
        let mut buffer = [0; 4];
        assert_eq!(removed.read_at(&mut buffer, 0).unwrap(), 4);
        assert_eq!(&buffer, b"gone");
        assert_eq!(all_of(&*map), b"gone");

        let renamed = disk.open("a").unwrap();
        disk.rename("a", "b").unwrap();
        renamed.write_at(b"moved", 0).unwrap();
        renamed.sync().unwrap();
        assert_eq!(contents(disk, "b"), b"moved");
    });
}

#[test]
fn maps_are_whole_and_end_where_the_file_ends() {
    on_each_disk(|disk| {
        for len in [0_usize, 1, 15, 16, 4096, 70_000] {
            let bytes: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            disk.create("a").unwrap().write_at(&bytes, 0).unwrap();
            for in_place in [false, true] {
                let map = disk.map("a", in_place).unwrap();
                assert_eq!(all_of(&*map), bytes);
                let mut last = [0; 3];
                for (from, expected) in [(0, 3), (1, 4), (len / 2, len / 2 + 3), (len, len + 3)] {
                    match (map.read_at(&mut last, from), bytes.get(from..expected)) {
                        (Ok(()), Some(expected)) => assert_eq!(last, expected),
                        (Err(error), None) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
                        other => panic!("{len} {in_place} {from}: {other:?}"),
                    }
                }
                assert!(map.read_at(&mut last, usize::MAX).is_err());
                map.touch(0, usize::MAX);
            }
        }
    });
}

#[test]
fn the_lock_has_one_holder_and_one_fingerprint() {
    on_each_disk(|disk| {
        let lock = disk.lock().unwrap();
        let fingerprint = lock.fingerprint();
        assert_ne!(fingerprint.inode, 0);
        assert_eq!(disk.lock().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(disk.list().unwrap(), [LOCK_NAME]);
        drop(lock);
        assert_eq!(disk.lock().unwrap().fingerprint(), fingerprint);
    });
}

#[test]
fn there_is_room() {
    on_each_disk(|disk| assert!(disk.available().unwrap() > 0));
}

#[test]
fn files_are_shared_by_threads() {
    on_each_disk(|disk| {
        let file = disk.create("a").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4_u8 {
                let file = &file;
                scope.spawn(move || {
                    for round in 0..50 {
                        let offset = (round * 4 + u64::from(thread)) * 100;
                        file.write_at(&[thread; 100], offset).unwrap();
                        file.sync().unwrap();
                    }
                });
            }
        });
        let bytes = contents(disk, "a");
        assert_eq!(bytes.len(), 20_000);
        for (place, byte) in bytes.iter().enumerate() {
            assert_eq!(usize::from(*byte), place / 100 % 4);
        }
    });
}

mod real_files {
    use super::*;
    use std::{fs, path::Path, process::Command};

    /// A lock of another process is seen. `flock(1)` is part of util-linux; without it, skipped.
    #[test]
    fn another_process_cannot_take_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(dir.path()).unwrap();
        let lock = disk.lock().unwrap();
        let try_flock = || {
            let path = dir.path().join(LOCK_NAME);
            Command::new("flock")
                .args(["--nonblock".as_ref(), path.as_os_str()])
                .arg("true")
                .status()
        };
        let Ok(status) = try_flock() else {
            println!("skipped: no flock(1) here");
            return;
        };
        assert!(!status.success());
        drop(lock);
        assert!(try_flock().unwrap().success());
    }

    #[test]
    fn a_copied_directory_has_another_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let original = FileDisk::create(&from).unwrap().lock().unwrap().fingerprint();
        fs::create_dir(&to).unwrap();
        fs::copy(from.join(LOCK_NAME), to.join(LOCK_NAME)).unwrap();
        let copy = FileDisk::open(&to).unwrap().lock().unwrap().fingerprint();
        assert_ne!(copy, original);

        // Moving the directory is no copy.
        let moved = dir.path().join("moved");
        fs::rename(&from, &moved).unwrap();
        assert_eq!(FileDisk::open(moved).unwrap().lock().unwrap().fingerprint(), original);
    }

    #[test]
    fn only_a_directory_can_be_opened() {
        let dir = tempfile::tempdir().unwrap();
        let missing = FileDisk::open(dir.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        fs::write(dir.path().join("file"), "").unwrap();
        let file = FileDisk::open(dir.path().join("file")).unwrap_err();
        assert_eq!(file.kind(), ErrorKind::NotADirectory);
        assert!(FileDisk::create(dir.path().join("file")).is_err());
    }

    #[test]
    fn only_plain_files_with_plain_names_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "with space"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("b")).unwrap();
        assert_eq!(FileDisk::open(dir.path()).unwrap().list().unwrap(), ["a"]);
    }

    /// `/dev/full` is no file to allocate in; a small tmpfs would need root. A length that no disk
    /// has room for will do, where the file system admits such lengths at all.
    #[test]
    fn room_that_is_not_there_is_a_full_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(dir.path()).unwrap();
        let file = disk.create("a").unwrap();
        let too_much = disk.available().unwrap() + (1 << 30);
        if too_much < 1 << 43 {
            let error = file.allocate(too_much).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
        disk.remove("a").unwrap();
        assert!(!Path::new(&disk.path("a")).exists());
    }
}

/// A file that is cut while it is mapped: what it had is an error, and the process goes on.
#[test]
fn what_a_map_has_lost_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FileDisk::create(dir.path()).unwrap();
    for in_place in [false, true] {
        let file = disk.create("a").unwrap();
        file.write_at(&vec![7; 100_000], 0).unwrap();
        let maps: Vec<_> = (0..3).map(|_| disk.map("a", in_place).unwrap()).collect();
        file.set_len(0).unwrap();
        std::thread::scope(|scope| {
            for map in &maps {
                scope.spawn(|| {
                    let mut part = [1; 9000];
                    for from in [0, 4095, 50_000, 91_000] {
                        assert!(map.read_at(&mut part, from).is_err(), "{in_place} {from}");
                    }
                    map.touch(0, 100_000);
                });
            }
        });
        // Others are not concerned.
        file.write_at(&[8; 5000], 0).unwrap();
        assert_eq!(all_of(&*disk.map("a", in_place).unwrap()), [8; 5000]);
        drop(maps);
        assert_eq!(all_of(&*disk.map("a", in_place).unwrap()), [8; 5000]);
    }
}

/// As many as can be guarded are mapped; the others are read with calls.
#[test]
fn any_number_of_maps_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FileDisk::create(dir.path()).unwrap();
    disk.create("a").unwrap().write_at(b"bytes", 0).unwrap();
    let _maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    let maps: Vec<_> = (0..4200).map(|_| disk.map("a", true).unwrap()).collect();
    for map in &maps {
        assert_eq!(all_of(&**map), b"bytes");
    }
}
