//! Rules of a witness beyond the vectors.

use stemedb_merkle::{
    LogSize, Root,
    history::{ConsistencyProof, TreeHead},
};
use stemedb_tlog::{
    checkpoint::{Checkpoint, Extensions},
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
    witness::{CosignedHead, Decision, WitnessRequest, decide},
};

use super::{checkpoint, cosigned, forked, sign};
use crate::vectors::{private_key, tree, verifier_key};

const NOW: u64 = 1_700_000_000;

pub(super) fn stored(signed: &SignedCheckpoint, time: u64) -> CosignedHead {
    let note = cosigned(signed, &[(&private_key("w1"), time)]);
    CosignedHead { head: *signed.head(), time, note }
}

pub(super) fn request(old: u64, new: &Checkpoint) -> String {
    let proof = ConsistencyProof::prove(tree(), LogSize(old), new.head().size);
    WitnessRequest::write(LogSize(old), &proof.unwrap_or(ConsistencyProof(vec![])), &sign(new))
}

pub(super) fn answer(request: &str, stored: Option<&CosignedHead>, now: u64) -> Decision {
    let request = WitnessRequest::parse(request.as_bytes(), Extensions::Refuse).unwrap();
    decide(request, &[verifier_key("log")], stored, now)
}

#[test]
fn the_clock_must_not_be_before_the_last_cosignature() {
    let last = stored(&sign(&checkpoint(10)), NOW);
    let request = request(10, &checkpoint(20));
    assert_eq!(answer(&request, Some(&last), NOW - 1), Decision::ClockBehind);
    assert_eq!(answer(&request, Some(&last), NOW).status(), 200);
    // Everything else comes first.
    let other = super::witness::request(0, &checkpoint(20));
    assert_eq!(answer(&other, Some(&last), NOW - 1).status(), 409);
}

#[test]
fn conflicts_are_kept_and_those_that_prove_themselves_are_told_apart() {
    let last = stored(&sign(&checkpoint(10)), NOW);
    let conflict = |decision| match decision {
        Decision::Inconsistent(conflict) => Some((422, conflict.proven)),
        Decision::OtherSize { conflict, .. } => conflict.map(|conflict| (409, conflict.proven)),
        _ => None,
    };
    let equal = request(10, &forked(10));
    assert_eq!(conflict(answer(&equal, Some(&last), NOW)), Some((422, true)));
    // The wrong proof may be the work of anybody.
    let other = request(10, &forked(20));
    assert_eq!(conflict(answer(&other, Some(&last), NOW)), Some((422, false)));
    let other_old = request(3, &forked(10));
    assert_eq!(conflict(answer(&other_old, Some(&last), NOW)), Some((409, true)));
    let smaller = request(3, &checkpoint(5));
    assert_eq!(conflict(answer(&smaller, Some(&last), NOW)), None);
    let empty = Checkpoint::new(
        checkpoint(0).origin().clone(),
        TreeHead { size: LogSize(0), root: Root([1; 32]) },
    );
    assert_eq!(conflict(answer(&request(0, &empty), None, NOW)), Some((422, true)));
}

/// Lines of other witnesses, and of nobody, are neither checked nor stored.
#[test]
fn only_lines_of_the_log_are_looked_at() {
    let signed = sign(&checkpoint(10));
    let note = cosigned(&signed, &[(&private_key("w2"), 5)]).replace("RwD5pwAA", "RwD5pwBB");
    let request = format!("old 0\n\n{note}");
    let Decision::Accepted(accepted) = answer(&request, None, NOW) else { panic!("{request}") };
    let (new, _) = accepted.cosign(&[&private_key("w1")]).unwrap();
    assert!(!new.note.contains("/w2") && new.note.contains("/w1"));
}

/// With extension lines the cosignature is over all lines.
#[test]
fn extension_lines_are_cosigned_where_they_are_allowed() {
    let text = format!("{}extension 1\n", checkpoint(10).text());
    let note = stemedb_tlog::note::Note::sign(&text, &[&private_key("log")]).unwrap();
    let request = format!("old 0\n\n{note}");
    assert!(WitnessRequest::parse(request.as_bytes(), Extensions::Refuse).is_err());
    let request = WitnessRequest::parse(request.as_bytes(), Extensions::Allow).unwrap();
    let decision = decide(request, &[verifier_key("log")], None, NOW);
    let Decision::Accepted(accepted) = decision else { panic!("{decision:?}") };
    let (new, _) = accepted.cosign(&[&private_key("w1")]).unwrap();
    assert!(new.note.starts_with(&text));
    let note = UnverifiedCheckpoint::parse(new.note.as_bytes(), Extensions::Allow).unwrap();
    let verified = note.verify(&[verifier_key("log")], &[verifier_key("w1")]).unwrap();
    assert_eq!(verified.cosignatures().len(), 1);
    // An empty line is no extension.
    let empty = format!("{}\nx\n", checkpoint(10).text());
    let note = stemedb_tlog::note::Note::sign(&empty, &[&private_key("log")]).unwrap();
    assert!(UnverifiedCheckpoint::parse(note.as_bytes(), Extensions::Allow).is_err());
}

/// A witness that is asked in any order cosigns no two heads that are inconsistent.
#[test]
fn whatever_is_asked_one_history_is_cosigned() {
    let mut last: Option<CosignedHead> = None;
    let mut random = 1_u64;
    let mut cosigned = Vec::new();
    for step in 0..300 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let stored = last.as_ref().map_or(1, |last| last.head.size.0);
        let size = (stored + (random >> 33) % 4).saturating_sub(1).max(1);
        let old = match (random >> 20) % 3 {
            0 | 1 => last.as_ref().map_or(0, |last| last.head.size.0).min(size),
            _ => (random >> 40) % (size + 1),
        };
        let new = if last.is_some() && (random >> 10).is_multiple_of(4) {
            forked(size)
        } else {
            checkpoint(size)
        };
        if let Decision::Accepted(accepted) = answer(&request(old, &new), last.as_ref(), NOW + step)
        {
            let (new, _) = accepted.cosign(&[&private_key("w1")]).unwrap();
            cosigned.push(new.head);
            last = Some(new);
        }
    }
    assert!(cosigned.len() > 30, "{}", cosigned.len());
    let sizes: Vec<_> = cosigned.iter().map(|head| head.size).collect();
    assert!(sizes.is_sorted());
    assert!(cosigned.iter().all(|head| *head == *checkpoint(head.size.0).head()));
}
