//! Forged files: restart checkpoints whose checksums are right and whose contents are not, and
//! texts of proofs.

use std::{panic, path::Path, time::Instant};

use stemedb::{AssertionId, Depth, Options, Presence, ProofFile, Root, Store};

use crate::reference::random::{Random, first_seed, number_from_env};
use crate::targets::files::mend_checkpoint;

/// What a store says of itself and of some ids, or that it can't say.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    root: (Root, u64),
    bodies: Vec<Option<Vec<u8>>>,
    proofs: Vec<bool>,
}

fn options() -> Options {
    Options::default().threads(false).create(false)
}

/// All answers of a store that is opened here; an error is as good as one.
fn answers(dir: &Path, ids: &[AssertionId]) -> Result<(Answers, bool), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let store = Store::open(dir, options()).map_err(|error| text(&error))?;
    let head = store.head().map_err(|error| text(&error))?;
    let mut bodies = Vec::new();
    let mut proofs = Vec::new();
    let snapshot = store.snapshot().map_err(|error| text(&error))?;
    for id in ids {
        bodies.push(store.get(id).map_err(|error| text(&error))?);
        let proof = snapshot.prove(id).map_err(|error| text(&error))?.proof;
        let present = proof.verify(&head.set_root).map_err(|error| text(&error))?;
        proofs.push(present == Presence::Present);
    }
    drop(snapshot);
    let check = store.check(Depth::Deep, &mut |_| {}).map_err(|error| text(&error))?;
    let found = !check.faults.is_empty();
    Ok((Answers { root: (head.set_root, head.count), bodies, proofs }, found))
}

fn change(bytes: &mut [u8], from: usize, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.len() <= from {
            return;
        }
        let at = from + random.index(bytes.len() - from);
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
            2 => {
                let len = (bytes.len() - at).min(8);
                let number = random.next().to_le_bytes();
                bytes[at..at + len].copy_from_slice(&number[..len]);
            }
            3 => {
                // One piece over another: what is well formed in the wrong place.
                let len = (bytes.len() - at).min([8, 32, 40, 64][random.index(4)]);
                let other = from + random.index(bytes.len() - len - from + 1);
                let piece = bytes[other..other + len].to_vec();
                bytes[at..at + len].copy_from_slice(&piece);
            }
            _ => {
                let len = (bytes.len() - at).min(32);
                bytes[at..at + len].fill(0);
            }
        }
    }
}

/// A forged checkpoint is set aside, leads to the right answers, or to errors; wrong answers are
/// found by a check. Nothing panics.
#[test]
#[ignore = "takes long: .ci/long"]
fn no_forged_checkpoint_is_believed() {
    let began = Instant::now();
    let trials = number_from_env("STEMEDB_FORGED").unwrap_or(300);
    let seed = first_seed(1);
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    {
        let store = Store::open(dir.path(), options().create(true)).unwrap();
        let bodies = |from: u32, to: u32| (from..to).map(|n| format!("body {n}"));
        ids.extend(store.append_batch(bodies(0, 1500)).unwrap().iter().map(|receipt| receipt.id));
        store.checkpoint().unwrap();
        ids.extend(store.append_batch(bodies(1500, 1600)).unwrap().iter().map(|one| one.id));
        store.checkpoint().unwrap();
        store.append_batch(bodies(1600, 1620)).unwrap();
        store.close().unwrap();
    }
    let asked: Vec<AssertionId> =
        ids.iter().step_by(97).copied().chain([AssertionId([7; 32])]).collect();
    let (right, _) = answers(dir.path(), &asked).unwrap();
    let files = std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    let mut checkpoints: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "ckpt")).collect();
    checkpoints.sort();
    assert!(!checkpoints.is_empty());
    let whole = crate::environment::tools::contents(dir.path());
    let (mut same, mut errors, mut found_by_check) = (0, 0, 0);
    for trial in 0..trials {
        let path = &checkpoints[random.index(checkpoints.len())];
        let mut bytes = std::fs::read(path).unwrap();
        let original = bytes.clone();
        let from = if random.one_in(4) { 16 } else { 256 };
        while bytes == original {
            change(&mut bytes, from, &mut random);
            mend_checkpoint(&mut bytes);
        }
        std::fs::write(path, &bytes).unwrap();
        let context = format!("STEMEDB_SEED={seed}, trial {trial}, {}", path.display());
        let answered = panic::catch_unwind(|| answers(dir.path(), &asked));
        match answered.unwrap_or_else(|_| panic!("{context}: a panic")) {
            Err(_) => errors += 1,
            Ok((answers, _)) if answers == right => same += 1,
            Ok((answers, found)) => {
                assert!(found, "{context}: wrong, and no check says so: {answers:?}");
                found_by_check += 1;
            }
        }
        // As it was: opening may have set files aside.
        for file in std::fs::read_dir(dir.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        for (name, bytes) in &whole {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
    }
    println!(
        "{trials} forged checkpoints in {:?}: {same} led to the right answers, {errors} to errors, \
         {found_by_check} to wrong ones that a check found",
        began.elapsed()
    );
    assert_eq!(answers(dir.path(), &asked).unwrap().0, right);
}

/// No change of a proof's text proves anything that is false.
#[test]
#[ignore = "takes long: .ci/long"]
fn no_forged_proof_proves_anything_false() {
    let trials = number_from_env("STEMEDB_PROOFS").unwrap_or(20_000);
    let seed = first_seed(1);
    let mut random = Random::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options().create(true)).unwrap();
    let receipts = store.append_batch((0..500).map(|n| format!("body {n}"))).unwrap();
    let root = store.head().unwrap().set_root;
    let snapshot = store.snapshot().unwrap();
    let absent = (0..20_u8).map(|n| AssertionId([n; 32]));
    let ids: Vec<AssertionId> = receipts.iter().map(|receipt| receipt.id).chain(absent).collect();
    let texts: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| ProofFile::from(snapshot.prove(id).unwrap()).write().into_bytes())
        .collect();
    let (mut parsed, mut verified) = (0, 0);
    for trial in 0..trials {
        let mut text = texts[random.index(texts.len())].clone();
        match random.below(3) {
            // A line of another proof.
            0 => {
                let other = &texts[random.index(texts.len())];
                let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
                let others: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
                let at = random.index(lines.len());
                match random.below(4) {
                    0 => drop(lines.remove(at)),
                    1 => lines.insert(at, others[random.index(others.len())]),
                    2 => lines.swap(at, 0),
                    _ => lines[at] = others[random.index(others.len())],
                }
                text = lines.concat();
            }
            // A digit in place of a digit.
            1 => {
                let at = random.index(text.len());
                text[at] = b"0123456789abcdefABCDEF+/=\n \r"[random.index(28)];
            }
            _ => change(&mut text, 0, &mut random),
        }
        let Ok(file) = ProofFile::parse(&text) else { continue };
        parsed += 1;
        let Ok(presence) = file.proof.verify(&root) else { continue };
        verified += 1;
        let held = receipts.iter().any(|receipt| receipt.id.0 == file.proof.id);
        assert_eq!(
            presence == Presence::Present,
            held,
            "STEMEDB_SEED={seed}, trial {trial}:\n{}",
            String::from_utf8_lossy(&text)
        );
    }
    println!("{trials} forged proofs: {parsed} parsed, {verified} verified, all of what is true");
    assert!(parsed > 0 && verified > 0, "{parsed} {verified}: nothing was tested");
}
