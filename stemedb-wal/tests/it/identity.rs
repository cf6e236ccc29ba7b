//! The file `IDENTITY`: its bytes, and what becomes of it when the disk fails.

use std::{
    cell::Cell,
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
};

use stemedb_merkle::LogIndex;

use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Step, Survival, Target};
use stemedb_wal::{
    Position,
    disk::{Disk, Fingerprint},
    identity::*,
    log::Watermark,
};

const LOCK: Fingerprint = Fingerprint { inode: 0x1122, birth_nanos: 0x3344 };

thread_local! {
    static DRAWN: Cell<u8> = const { Cell::new(0) };
}

#[expect(clippy::unnecessary_wraps, reason = "entropy can fail")]
fn entropy(bytes: &mut [u8]) -> io::Result<()> {
    DRAWN.set(DRAWN.get().wrapping_add(1).max(1));
    bytes.fill(DRAWN.get());
    Ok(())
}

fn sample() -> Identity {
    Identity {
        store_id: [0xA1; 16],
        node_id: [0xB2; 16],
        epoch: 3,
        generation: 2,
        salt_seed: [0xC3; 16],
        secret_check: Some([0xD4; 32]),
        fingerprint: LOCK,
        clean: Some(Watermark {
            position: Position(0x0102_0304_0506),
            next_index: LogIndex(0x0708),
        }),
    }
}

fn saved(identity: &Identity) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    disk.put(IDENTITY_NAME, &identity.encode()).unwrap();
    disk
}

/// The format on disk, byte for byte. If this fails the format has changed: raise `VERSION`, keep a
/// reader for the old one, and only then write new bytes here.
#[test]
fn golden_bytes() {
    let mut expected = Vec::new();
    expected.extend(b"STEMEIDT");
    expected.extend([1, 0, 0, 0]); // version
    expected.extend([0x09, 0xd0, 0x7a, 0x5e]); // crc, confirmed with zlib's
    expected.extend([0xA1; 16]); // store id
    expected.extend([0xB2; 16]); // node id
    expected.extend([0xC3; 16]); // salt seed
    expected.extend([0xD4; 32]); // secret check
    expected.extend([3, 0, 0, 0, 0, 0, 0, 0]); // epoch
    expected.extend([0x22, 0x11, 0, 0, 0, 0, 0, 0]); // inode
    expected.extend([0x44, 0x33, 0, 0, 0, 0, 0, 0]); // birth
    expected.extend([0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0, 0]); // clean position
    expected.extend([0x08, 0x07, 0, 0, 0, 0, 0, 0]); // clean next index
    expected.extend([2, 0, 0, 0]); // generation
    expected.extend([3, 0, 0, 0]); // flags
    assert_eq!(sample().encode().as_slice(), expected);
}

#[test]
fn what_is_written_is_read() {
    let full = sample();
    let bare = Identity { secret_check: None, clean: None, ..full.clone() };
    for identity in [full, bare] {
        assert_eq!(Identity::decode(&identity.encode()), Ok(identity.clone()));
        assert_eq!(Identity::load(&saved(&identity)).unwrap(), identity);
    }
}

#[test]
fn every_flip_cut_and_extension_is_damage() {
    let bytes = sample().encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Identity::decode(&flipped), Err(Unreadable::Damaged), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert_eq!(Identity::decode(&bytes[..len]), Err(Unreadable::Damaged), "length {len}");
    }
    for extra in [1, 16, 4096] {
        let longer = [bytes.as_slice(), &vec![0; extra]].concat();
        assert_eq!(Identity::decode(&longer), Err(Unreadable::Damaged));
    }
    assert_eq!(Identity::decode(&[0; IDENTITY_LEN]), Err(Unreadable::Damaged));
}

#[test]
fn a_valid_crc_does_not_make_an_identity() {
    let edited = |at: usize, value: u8, len: usize| {
        let mut bytes = sample().encode().to_vec();
        bytes.resize(len, 0);
        bytes[at] = value;
        let crc = crc32fast::hash(&[&bytes[..12], &bytes[16..]].concat()).to_le_bytes();
        bytes[12..16].copy_from_slice(&crc);
        Identity::decode(&bytes)
    };
    assert!(edited(0, b'S', IDENTITY_LEN).is_ok());
    assert_eq!(edited(8, 2, IDENTITY_LEN), Err(Unreadable::FutureVersion(2)));
    assert_eq!(edited(8, 9, 300), Err(Unreadable::FutureVersion(9)), "of whatever length");
    assert_eq!(edited(8, 0, IDENTITY_LEN), Err(Unreadable::Damaged));
    assert_eq!(edited(0, b'T', IDENTITY_LEN), Err(Unreadable::Damaged));
    assert_eq!(edited(140, 7, IDENTITY_LEN), Err(Unreadable::Damaged), "an unknown flag");
    assert_eq!(edited(0, b'S', IDENTITY_LEN + 1), Err(Unreadable::Damaged));
    assert_eq!(edited(0, b'S', IDENTITY_LEN - 1), Err(Unreadable::Damaged));
    let anonymous = Identity { node_id: [0; 16], ..sample() };
    assert_eq!(Identity::decode(&anonymous.encode()), Err(Unreadable::Damaged));
}

#[test]
fn errors_say_where_and_what_to_do() {
    let missing = Identity::load(&FaultyDisk::new(1)).unwrap_err();
    assert!(matches!(missing, IdentityError::Missing { .. }));
    assert!(missing.to_string().contains("faulty:IDENTITY is missing"), "{missing}");
    let disk = saved(&sample());
    disk.flip_bit(IDENTITY_NAME, 500).unwrap();
    let damaged = Identity::load(&disk).unwrap_err();
    assert!(
        matches!(damaged, IdentityError::Damaged { .. }) && damaged.to_string().contains("repair")
    );
    let there = Identity::create(&disk, LOCK, None, entropy).unwrap_err();
    assert!(matches!(there, IdentityError::AlreadyThere { .. }));
}

#[test]
fn secrets_are_told_apart() {
    let (right, wrong) = (Some(&b"0123456789abcdef"[..]), Some(&b"0123456789abcdeF"[..]));
    let disk = FaultyDisk::new(1);
    let made = Identity::create(&disk, LOCK, right, entropy).unwrap();
    assert!(!disk.contents(IDENTITY_NAME).unwrap().windows(16).any(|part| Some(part) == right));
    assert_eq!(made.check_secret(None), Err(SecretError::Missing));
    assert!(!Identity::open(&disk, LOCK, right, entropy).unwrap().secret_missing);
    assert!(Identity::open(&disk, LOCK, None, entropy).unwrap().secret_missing);
    let copy = Fingerprint { inode: 9, ..LOCK };
    let error = Identity::open(&disk, copy, wrong, entropy).unwrap_err();
    assert!(matches!(error, IdentityError::Secret { source: SecretError::Wrong, .. }));
    assert_eq!(Identity::load(&disk).unwrap(), made, "a wrong secret changes nothing");

    let disk = FaultyDisk::new(1);
    Identity::create(&disk, LOCK, None, entropy).unwrap();
    assert!(!Identity::open(&disk, LOCK, None, entropy).unwrap().secret_missing);
    let error = Identity::open(&disk, LOCK, right, entropy).unwrap_err();
    assert!(matches!(error, IdentityError::Secret { source: SecretError::Unexpected, .. }));
}

#[test]
fn a_copied_directory_becomes_another_node_once() {
    let disk = FaultyDisk::new(1);
    let fingerprint = disk.lock().unwrap().fingerprint();
    let made = Identity::create(&disk, fingerprint, None, entropy).unwrap();
    let opened = Identity::open(&disk, fingerprint, None, entropy).unwrap();
    assert_eq!((opened.copied, &opened.identity), (None, &made));

    let copy = disk.copied();
    let found = copy.lock().unwrap().fingerprint();
    let opened = Identity::open(&copy, found, None, entropy).unwrap();
    let (copied, identity) = (opened.copied.unwrap(), opened.identity);
    assert_eq!((copied.former_node_id, copied.former_epoch), (made.node_id, 1));
    assert_eq!((copied.node_id, copied.epoch), (identity.node_id, 2));
    assert_ne!(identity.node_id, made.node_id);
    assert_eq!(identity.store_id, made.store_id);
    assert!(copied.to_string().contains("epoch 2"), "{copied}");
    let after = copy.power_cut(Survival::Nothing, 0);
    assert_eq!(Identity::open(&after, found, None, entropy).unwrap().copied, None);
    assert_eq!(Identity::load(&after).unwrap(), identity);

    let last = Identity { epoch: u64::MAX, ..made };
    let error = Identity::open(&saved(&last), found, None, entropy).unwrap_err();
    assert!(matches!(error, IdentityError::EpochsExhausted { .. }));
}

#[test]
fn an_unknown_birth_time_does_not_make_a_copy() {
    let unknown = Fingerprint { birth_nanos: 0, ..LOCK };
    assert!(LOCK.matches(LOCK));
    assert!(LOCK.matches(unknown) && unknown.matches(LOCK));
    assert!(!LOCK.matches(Fingerprint { inode: 1, ..unknown }));
    assert!(!LOCK.matches(Fingerprint { birth_nanos: 1, ..LOCK }));
}

#[test]
fn the_clean_mark_only_grows_until_the_next_generation() {
    let disk = FaultyDisk::new(1);
    let mut identity = Identity::create(&disk, LOCK, None, entropy).unwrap();
    let mark =
        |position| Watermark { position: Position(position), next_index: LogIndex(position / 10) };
    for (given, expected) in [(100, 100), (90, 100), (100, 100), (200, 200)] {
        let before = disk.operations(Target::Mutating);
        identity.save_clean(&disk, mark(given)).unwrap();
        assert_eq!(identity.clean, Some(mark(expected)));
        let after = disk.power_cut(Survival::Nothing, 0);
        assert_eq!(Identity::load(&after).unwrap(), identity);
        let wrote = disk.operations(Target::Mutating) > before;
        assert_eq!(wrote, given == expected && (given != 100 || before < 10), "{given}");
    }
    let next = identity.next_generation().unwrap();
    assert_eq!((next.generation, next.epoch, next.clean), (1, 2, None));
    assert_eq!(Identity { generation: u32::MAX, ..identity }.next_generation(), None);
}

/// Whenever the power is cut, however much survives: the old identity or the new one, whole.
#[test]
fn a_cut_while_saving_leaves_the_old_or_the_new() {
    let disk = FaultyDisk::new(1);
    let old = Identity::create(&disk, LOCK, None, entropy).unwrap();
    let new = Identity { epoch: 7, ..old.clone() };
    let moments: Arc<Mutex<Vec<Step>>> = Arc::default();
    let recorder = Arc::clone(&moments);
    disk.observe(move |moment| recorder.lock().unwrap().push(moment));
    new.save(&disk).unwrap();
    disk.stop_observing();
    let mut epochs = BTreeSet::new();
    for moment in moments.lock().unwrap().iter() {
        for mode in Survival::ALL {
            for seed in 0..50 {
                let cut = moment.disk.power_cut(mode, seed);
                let found = Identity::load(&cut).unwrap();
                assert!(found == old || found == new, "{moment:?} {mode:?} {seed}");
                epochs.insert(found.epoch);
                new.save(&cut).unwrap();
                assert_eq!(Identity::load(&cut.power_cut(Survival::Nothing, 0)).unwrap(), new);
            }
        }
    }
    assert_eq!(epochs, BTreeSet::from([1, 7]));
}

#[test]
fn every_failing_operation_leaves_the_old_or_the_new() {
    for kind in [FaultKind::Failed, FaultKind::Persisted, FaultKind::Partial] {
        for after in 0..5 {
            let disk = FaultyDisk::new(1);
            let old = Identity::create(&disk, LOCK, None, entropy).unwrap();
            let new = Identity { epoch: 7, ..old.clone() };
            let (target, error) = (Target::Mutating, io::ErrorKind::Other);
            disk.inject(Fault { target, after, from_then_on: true, error, kind });
            let failure = new.save(&disk).unwrap_err();
            assert!(matches!(failure, IdentityError::Io { .. }), "{failure}");
            for mode in Survival::ALL {
                let found = Identity::load(&disk.power_cut(mode, after)).unwrap();
                assert!(found == old || found == new, "{after} {kind:?} {mode:?}");
            }
        }
    }
    // Nor does a failing read make one up.
    let disk = saved(&sample());
    for operation in [Operation::Open, Operation::Read] {
        let (target, error) = (Target::Only(operation), io::ErrorKind::Other);
        disk.inject(Fault {
            target,
            after: 0,
            from_then_on: false,
            error,
            kind: FaultKind::Failed,
        });
        assert!(matches!(Identity::load(&disk), Err(IdentityError::Io { .. })));
    }
}

#[test]
fn without_entropy_there_is_no_identity() {
    for broken in [|_: &mut [u8]| Err(io::ErrorKind::Other.into()), |_: &mut [u8]| Ok(())] {
        let disk = FaultyDisk::new(1);
        let error = Identity::create(&disk, LOCK, None, broken).unwrap_err();
        assert!(matches!(error, IdentityError::Entropy(_)));
        assert!(matches!(Identity::load(&disk), Err(IdentityError::Missing { .. })));
    }
}
