//! The faulty disk keeps to the rules of the seam: what is synced is there, what is not can be lost
//! in every way that they allow and in no other.

use std::{
    collections::BTreeSet,
    io::ErrorKind,
    sync::{Arc, Mutex},
};
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Step, Survival, Target};
use stemedb_wal::disk::{Disk, SECTOR_LEN};

const SECTOR: u64 = SECTOR_LEN as u64;
const SEEDS: u64 = 200;

/// A durable file `a` of four sectors of ones.
fn disk_with_ones() -> FaultyDisk {
    let disk = FaultyDisk::new(7);
    let file = disk.create("a").unwrap();
    file.write_at(&[1; SECTOR_LEN * 4], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir().unwrap();
    disk
}

fn fault(operation: Operation, kind: FaultKind) -> Fault {
    let target = Target::Only(operation);
    Fault { target, after: 0, from_then_on: false, error: ErrorKind::Other, kind }
}

/// The first byte of each sector of `a`, after a check that sectors are whole.
fn sectors(disk: &FaultyDisk) -> Vec<u8> {
    let bytes = disk.contents("a").unwrap();
    let first_of = |sector: &[u8]| {
        let first = *sector.first().unwrap();
        assert!(sector.iter().all(|byte| *byte == first), "{sector:?}");
        first
    };
    bytes.chunks(SECTOR_LEN).map(first_of).collect()
}

/// All that cuts in a mode leave of `a`.
fn outcomes(disk: &FaultyDisk, mode: Survival) -> BTreeSet<Vec<u8>> {
    (0..SEEDS).map(|seed| sectors(&disk.power_cut(mode, seed))).collect()
}

#[test]
fn what_is_synced_survives_every_cut() {
    let disk = disk_with_ones();
    for mode in Survival::ALL {
        assert_eq!(outcomes(&disk, mode), BTreeSet::from([vec![1; 4]]), "{mode:?}");
    }
}

/// The control: were nothing ever lost, the tests on this disk would prove nothing.
#[test]
fn what_is_not_synced_can_be_lost() {
    let disk = disk_with_ones();
    disk.open("a").unwrap().write_at(&[2; SECTOR_LEN * 4], 0).unwrap();
    disk.create("b").unwrap();
    for mode in Survival::ALL {
        let kept = outcomes(&disk, mode).iter().all(|outcome| *outcome == vec![2; 4]);
        assert_eq!(kept, matches!(mode, Survival::Everything | Survival::Contents), "{mode:?}");
        let named = (0..SEEDS).all(|seed| disk.power_cut(mode, seed).open("b").is_ok());
        assert_eq!(named, matches!(mode, Survival::Everything | Survival::Names), "{mode:?}");
    }
}

#[test]
fn each_mode_leaves_what_it_says() {
    let disk = disk_with_ones();
    let file = disk.open("a").unwrap();
    file.write_at(&[2; SECTOR_LEN * 2], 0).unwrap();
    file.write_at(&[3; SECTOR_LEN * 2], 3 * SECTOR).unwrap();
    let old = vec![1, 1, 1, 1];
    let first = vec![2, 2, 1, 1];
    let new = vec![2, 2, 1, 3, 3];
    assert_eq!(outcomes(&disk, Survival::Nothing), BTreeSet::from([old.clone()]));
    assert_eq!(outcomes(&disk, Survival::Names), BTreeSet::from([old.clone()]));
    assert_eq!(outcomes(&disk, Survival::Everything), BTreeSet::from([new.clone()]));
    assert_eq!(outcomes(&disk, Survival::Contents), BTreeSet::from([new.clone()]));
    let prefixes = BTreeSet::from([old.clone(), first.clone(), new.clone()]);
    assert_eq!(outcomes(&disk, Survival::Prefix), prefixes);
    let torn = [vec![2, 1, 1, 1], vec![2, 2, 1, 3]];
    assert_eq!(outcomes(&disk, Survival::Torn), prefixes.into_iter().chain(torn).collect());
    assert_eq!(outcomes(&disk, Survival::ZeroFilled), BTreeSet::from([vec![1, 1, 1, 1, 0]]));

    // Any subset of the three whole sectors, and a length that may cut the last one anywhere.
    let lengths: BTreeSet<usize> =
        (0..SEEDS).map(|seed| length(&disk.power_cut(Survival::Sectors, seed))).collect();
    assert!(lengths.len() > 20 && lengths.first() == Some(&(4 * SECTOR_LEN)), "{lengths:?}");
    assert_eq!(lengths.last(), Some(&(5 * SECTOR_LEN)));
    let reordered = outcomes(&disk, Survival::Sectors);
    let fours: BTreeSet<&[u8]> = reordered.iter().map(|outcome| &outcome[..4]).collect();
    assert_eq!(fours.len(), 8, "{fours:?}");
    assert!(fours.iter().all(|four| { matches!(**four, [1 | 2, 1 | 2, 1, 1 | 3]) }));
    assert!(reordered.contains(&vec![1, 1, 1, 1, 3]), "the end without the beginning");
}

fn length(disk: &FaultyDisk) -> usize {
    disk.contents("a").unwrap().len()
}

#[test]
fn a_sector_written_twice_holds_any_of_the_three() {
    let disk = disk_with_ones();
    let file = disk.open("a").unwrap();
    file.write_at(&[2; SECTOR_LEN], 0).unwrap();
    file.write_at(&[3; SECTOR_LEN], 0).unwrap();
    let first: BTreeSet<u8> =
        outcomes(&disk, Survival::Sectors).iter().map(|outcome| outcome[0]).collect();
    assert_eq!(first, BTreeSet::from([1, 2, 3]));
}

#[test]
fn what_is_cut_off_may_be_zeros_under_the_old_length() {
    let disk = disk_with_ones();
    disk.open("a").unwrap().set_len(SECTOR + 100).unwrap();
    let mut states = BTreeSet::new();
    for seed in 0..SEEDS {
        let bytes = disk.power_cut(Survival::Sectors, seed).contents("a").unwrap();
        assert!(bytes.iter().take(SECTOR_LEN + 100).all(|byte| *byte == 1));
        if bytes.len() == 4 * SECTOR_LEN {
            states.insert([SECTOR_LEN + 100, 2 * SECTOR_LEN, 3 * SECTOR_LEN].map(|at| bytes[at]));
        }
    }
    assert_eq!(states.len(), 8, "{states:?}");
}

#[test]
fn names_survive_in_their_order() {
    let disk = disk_with_ones();
    disk.create("b").unwrap();
    disk.rename("b", "c").unwrap();
    disk.remove("a").unwrap();
    let expected = [vec!["a"], vec!["a", "b"], vec!["a", "c"], vec!["c"]];
    for mode in [Survival::Prefix, Survival::Torn, Survival::Sectors, Survival::ZeroFilled] {
        let lists: BTreeSet<Vec<String>> =
            (0..SEEDS).map(|seed| disk.power_cut(mode, seed).list().unwrap()).collect();
        let expected = expected.each_ref().map(|names| names.iter().map(ToString::to_string));
        assert_eq!(lists, expected.map(Iterator::collect).into(), "{mode:?}");
    }
    disk.sync_dir().unwrap();
    for mode in Survival::ALL {
        assert_eq!(disk.power_cut(mode, 1).list().unwrap(), ["c"], "{mode:?}");
    }
}

/// What makes `rename` without `sync` lose files.
#[test]
fn a_durable_name_says_nothing_about_the_contents() {
    let disk = disk_with_ones();
    disk.create("new").unwrap().write_at(&[2; SECTOR_LEN], 0).unwrap();
    disk.rename("new", "a").unwrap();
    disk.sync_dir().unwrap();
    assert_eq!(disk.power_cut(Survival::Nothing, 0).contents("a").unwrap(), b"");
    assert_eq!(sectors(&disk.power_cut(Survival::ZeroFilled, 0)), [0]);
    disk.open("a").unwrap().sync().unwrap();
    assert_eq!(sectors(&disk.power_cut(Survival::Nothing, 0)), [2]);
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let disk = disk_with_ones();
    let file = disk.open("a").unwrap();
    file.write_at(&[2; SECTOR_LEN * 2], 0).unwrap();
    disk.inject(fault(Operation::Sync, FaultKind::Failed));
    assert_eq!(file.sync().unwrap_err().kind(), ErrorKind::Other);
    file.sync().unwrap();
    assert_eq!(disk.faults_hit(), 1);
    assert_eq!(sectors(&disk), [2, 2, 1, 1], "reads show it all the same");
    assert_eq!(sectors(&disk.fork()), [2, 2, 1, 1]);
    assert_eq!(outcomes(&disk, Survival::Nothing), BTreeSet::from([vec![1; 4]]));
    assert_eq!(outcomes(&disk, Survival::Sectors).len(), 4, "any subset");

    // Written again and synced, it is durable; what was not written again is not.
    file.write_at(&[2; SECTOR_LEN], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(outcomes(&disk, Survival::Nothing), BTreeSet::from([vec![2, 1, 1, 1]]));
    let either = BTreeSet::from([vec![2, 1, 1, 1], vec![2, 2, 1, 1]]);
    assert_eq!(outcomes(&disk, Survival::Sectors), either);
}

#[test]
fn an_error_may_hide_a_success() {
    let disk = disk_with_ones();
    let file = disk.open("a").unwrap();
    disk.inject(fault(Operation::Write, FaultKind::Persisted));
    assert!(file.write_at(&[2; SECTOR_LEN], 0).is_err());
    disk.inject(fault(Operation::Sync, FaultKind::Persisted));
    assert!(file.sync().is_err());
    assert_eq!(outcomes(&disk, Survival::Nothing), BTreeSet::from([vec![2, 1, 1, 1]]));
    disk.inject(fault(Operation::Rename, FaultKind::Persisted));
    assert!(disk.rename("a", "b").is_err());
    assert_eq!(disk.list().unwrap(), ["b"]);
    disk.inject(fault(Operation::Rename, FaultKind::Failed));
    assert!(disk.rename("b", "a").is_err());
    assert_eq!(disk.list().unwrap(), ["b"]);
}

#[test]
fn a_partial_write_is_cut_somewhere() {
    let cuts: BTreeSet<usize> = (0..SEEDS)
        .map(|seed| {
            let disk = FaultyDisk::new(seed);
            let file = disk.create("a").unwrap();
            disk.inject(fault(Operation::Write, FaultKind::Partial));
            assert!(file.write_at(&[2; 1000], 0).is_err());
            length(&disk)
        })
        .collect();
    assert!(cuts.len() > 100 && cuts.iter().all(|cut| *cut <= 1000), "{cuts:?}");
}

#[test]
fn faults_hit_the_operation_they_were_planned_for() {
    let disk = disk_with_ones();
    let file = disk.open("a").unwrap();
    let target = Target::Mutating;
    let (error, kind) = (ErrorKind::TimedOut, FaultKind::Failed);
    disk.inject(Fault { target, after: 2, from_then_on: true, error, kind });
    let before = disk.operations(target);
    file.write_at(b"x", 0).unwrap();
    file.read_at(&mut [0], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(file.set_len(1).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(disk.create("b").unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(file.read_at(&mut [0], 0).unwrap(), 1);
    assert_eq!(disk.operations(target) - before, 4);
    assert_eq!(disk.faults_hit(), 2);
    disk.clear_faults();
    file.set_len(1).unwrap();

    // Every operation can be made to fail.
    for operation in Operation::ALL {
        let disk = disk_with_ones();
        let file = disk.open("a").unwrap();
        disk.inject(fault(operation, FaultKind::Failed));
        let failed = match operation {
            Operation::Open => disk.open("a").is_err(),
            Operation::Create => disk.create("b").is_err(),
            Operation::List => disk.list().is_err(),
            Operation::Rename => disk.rename("a", "b").is_err(),
            Operation::Remove => disk.remove("a").is_err(),
            Operation::SyncDir => disk.sync_dir().is_err(),
            Operation::Lock => disk.lock().is_err() && disk.lock().is_ok(),
            Operation::Len => file.len().is_err(),
            Operation::Read => disk.map("a", true).is_err(),
            Operation::Write => file.write_at(b"x", 0).is_err(),
            Operation::Allocate => file.allocate(1 << 20).is_err(),
            Operation::SetLen => file.set_len(0).is_err(),
            Operation::Sync => file.sync().is_err(),
        };
        assert!(failed && disk.faults_hit() == 1, "{operation:?}");
        assert_eq!(sectors(&disk), [1; 4], "{operation:?}");
    }
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = disk_with_ones();
    disk.set_capacity(Some(5 * SECTOR));
    assert_eq!(disk.available().unwrap(), SECTOR);
    let file = disk.open("a").unwrap();
    file.write_at(&[2; SECTOR_LEN], 0).unwrap();
    let other = disk.create("b").unwrap();
    assert_eq!(other.allocate(SECTOR + 1).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(other.len().unwrap(), 0);
    let error = file.write_at(&[3; 1000], 4 * SECTOR).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(sectors(&disk), [2, 1, 1, 1, 3]);
    assert_eq!(disk.available().unwrap(), 0);
    file.set_len(SECTOR).unwrap();
    other.allocate(4 * SECTOR).unwrap();
    other.write_at(&[4; SECTOR_LEN * 4], 0).unwrap();
    disk.set_capacity(None);
    file.write_at(&[3; 1000], 4 * SECTOR).unwrap();
}

#[test]
fn forks_and_cuts_go_their_own_way() {
    let disk = disk_with_ones();
    let lock = disk.lock().unwrap();
    let fork = disk.fork();
    let same = fork.lock().unwrap().fingerprint();
    assert_eq!(same, lock.fingerprint());
    assert_eq!(disk.power_cut(Survival::Everything, 1).lock().unwrap().fingerprint(), same);
    let copy = disk.copied();
    assert_ne!(copy.lock().unwrap().fingerprint(), same, "a copy is told from the original");
    fork.open("a").unwrap().write_at(&[9; SECTOR_LEN * 4], 0).unwrap();
    fork.remove("LOCK").unwrap();
    for untouched in [&disk, &copy] {
        assert_eq!(sectors(untouched), [1; 4]);
        assert_eq!(untouched.list().unwrap(), ["LOCK", "a"]);
    }
}

#[test]
fn damage_is_on_the_medium() {
    let disk = disk_with_ones();
    disk.flip_bit("a", 8 * 600 + 1).unwrap();
    disk.overwrite("a", &[8; 10], 0).unwrap();
    disk.truncate_file("a", 700).unwrap();
    disk.put("b", b"new").unwrap();
    let after = disk.power_cut(Survival::Nothing, 0);
    for disk in [&disk, &after] {
        let bytes = disk.contents("a").unwrap();
        assert_eq!((bytes.len(), bytes[600], bytes[9], bytes[10]), (700, 3, 8, 1));
        assert_eq!(disk.contents("b").unwrap(), b"new");
    }
    assert_eq!(disk.flip_bit("a", 8 * 700).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(disk.flip_bit("c", 0).unwrap_err().kind(), ErrorKind::NotFound);
}

/// A history is run once and the power cut before each of its operations, in all modes: at every
/// moment the file that is replaced by rename is the old one or the new one, whole.
#[test]
fn a_history_can_be_cut_at_every_operation() {
    let disk = disk_with_ones();
    let moments: Arc<Mutex<Vec<Step>>> = Arc::default();
    let recorder = Arc::clone(&moments);
    disk.observe(move |moment| recorder.lock().unwrap().push(moment));
    for generation in 2..100 {
        let file = disk.create("a.tmp").unwrap();
        file.write_at(&[generation; SECTOR_LEN * 2], 0).unwrap();
        file.write_at(&[generation; SECTOR_LEN * 2], 2 * SECTOR).unwrap();
        file.sync().unwrap();
        disk.rename("a.tmp", "a").unwrap();
        disk.sync_dir().unwrap();
    }
    disk.stop_observing();
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    assert_eq!(moments.len(), 98 * 6);
    let mut cuts = 0;
    for (place, moment) in (0_u64..).zip(&moments) {
        assert_eq!(moment.number - moments[0].number, place);
        let done = u8::try_from(1 + place / 6).unwrap();
        for mode in Survival::ALL {
            for seed in 0..5 {
                let sectors = sectors(&moment.disk.power_cut(mode, seed));
                let renamed = place % 6 == 5;
                assert!(
                    sectors == [done; 4] || (renamed && sectors == [done + 1; 4]),
                    "{moment:?} {mode:?} {seed}: {sectors:?}"
                );
                cuts += 1;
            }
        }
    }
    assert!(cuts > 20_000);
    assert_eq!(moments[0].operation, Operation::Create);
    assert_eq!(moments[3].name, "a.tmp");
}

/// The control: without the sync before the rename some cut shows it.
#[test]
fn a_forgotten_sync_shows_at_some_cut() {
    let disk = disk_with_ones();
    disk.create("a.tmp").unwrap().write_at(&[2; SECTOR_LEN * 4], 0).unwrap();
    disk.rename("a.tmp", "a").unwrap();
    disk.sync_dir().unwrap();
    let whole = |outcome: &Vec<u8>| *outcome == vec![1; 4] || *outcome == vec![2; 4];
    let broken = Survival::ALL.iter().filter(|mode| !outcomes(&disk, **mode).iter().all(whole));
    assert_eq!(broken.count(), 6);
}

#[test]
fn the_same_seed_leaves_the_same() {
    let run = |seed| {
        let disk = disk_with_ones();
        let file = disk.open("a").unwrap();
        (0..40).for_each(|n| file.write_at(&[3; 700], n * 333).unwrap());
        disk.power_cut(Survival::Sectors, seed).contents("a").unwrap()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
