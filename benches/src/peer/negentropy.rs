//! negentropy: ranges of sorted ids and their fingerprints, halved sixteenfold where they differ.

use negentropy::{Id, Negentropy, NegentropyStorageVector};

use crate::Failure;
use crate::contest::Sample;
use crate::cpu;
use crate::differing::Differing;
use crate::measure::sync_find::{PREFIX_LEN, sample};

/// All ids have the same time: of a body two stores have nothing in common but its id.
fn storage(ids: &[[u8; 32]]) -> Result<NegentropyStorageVector, Failure> {
    let mut storage = NegentropyStorageVector::with_capacity(ids.len());
    for id in ids {
        storage.insert(0, Id::from_byte_array(*id))?;
    }
    storage.seal()?;
    Ok(storage)
}

/// Messages of any length, until the initiator knows what either side lacks.
pub(crate) fn find(sets: &Differing, sessions: usize) -> Result<Sample, Failure> {
    let (one, other) = (storage(&sets.one)?, storage(&sets.other)?);
    let mut held = Vec::new();
    let mut heat = Vec::new();
    for _ in 0..sessions {
        cpu::cool(&mut heat);
        let mut initiator = Negentropy::borrowed(&one, 0)?;
        let mut responder = Negentropy::borrowed(&other, 0)?;
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let (first, mut initiating) = cpu::timed(|| initiator.initiate());
        let mut responding = std::time::Duration::ZERO;
        let mut ask = Some(first?);
        let (mut bytes, mut rounds) = (0, 0);
        while let Some(query) = ask {
            rounds += 1;
            let (answer, took) = cpu::timed(|| responder.reconcile(&query));
            responding += took;
            let answer = answer?;
            bytes += query.len() + answer.len() + 2 * PREFIX_LEN;
            let (next, took) =
                cpu::timed(|| initiator.reconcile_with_ids(&answer, &mut have, &mut need));
            initiating += took;
            ask = next?;
        }
        if (have.len() + need.len()) as u64 != sets.by {
            return Err("negentropy did not find all differences".into());
        }
        held.push((bytes as u64, rounds, initiating, responding));
    }
    Ok(sample(&held))
}
