//! An audit log: somebody signs off what it held, and can check later that nothing of it changed.
//!
//! ```sh
//! cargo run --example audit_log
//! ```
//!
//! The keeper has the store. The auditor has two heads (a size and a root each: 40 bytes) and the
//! proofs, and needs no store to check them.

use std::error::Error;

use stemedb::{
    ConsistencyProof, InclusionProof, LogIndex, Options, Store, Timestamp, TreeHead, leaf_hash,
};

/// One entry, as the keeper shows it to the auditor.
struct Evidence {
    index: LogIndex,
    time: Timestamp,
    body: Vec<u8>,
    proof: InclusionProof,
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path().join("kept"), Options::default())?;

    store.append_batch((0..100).map(|n| format!("monday: invoice {n} paid")))?;
    let monday = store.history_head()?;
    println!("monday    the auditor signs off {} entries", monday.size);

    store.append_batch((0..150).map(|n| format!("tuesday: invoice {n} paid")))?;
    let tuesday = store.history_head()?;
    println!("tuesday   the log has {} entries", tuesday.size);

    // The log of Tuesday begins with all of Monday's, in the same order.
    let consistency = store.prove_consistency(monday.size, tuesday.size)?;
    audit_growth(&consistency, &monday, &tuesday)?;
    println!("proved    that monday is a part of it, with {} hashes", consistency.0.len());

    // One entry of Monday, shown under the head of Tuesday.
    let evidence = show(&store, LogIndex(42), &tuesday)?;
    audit_entry(&evidence, &tuesday)?;
    println!(
        "proved    that entry {} is {:?}, with {} hashes",
        evidence.index,
        String::from_utf8_lossy(&evidence.body),
        evidence.proof.0.len()
    );

    // Old roots can be computed again at any time.
    assert_eq!(store.history_root_at(monday.size)?, monday.root);

    // Evidence that was touched proves nothing.
    let touched = Evidence { body: b"monday: invoice 42 waived".to_vec(), ..evidence };
    assert!(audit_entry(&touched, &tuesday).is_err());
    println!("refused   the same entry with another body");

    // A log that was rewritten can't be passed off as the continuation of what was signed off.
    let forged = Store::open(dir.path().join("forged"), Options::default())?;
    let forge = |n| if n == 42 { "monday: nothing".into() } else { format!("monday: {n}") };
    forged.append_batch((0..100).map(forge))?;
    forged.append_batch((0..150).map(|n| format!("tuesday: invoice {n} paid")))?;
    let rewritten = forged.history_head()?;
    let proof = forged.prove_consistency(monday.size, rewritten.size)?;
    assert!(audit_growth(&proof, &monday, &rewritten).is_err());
    println!("refused   a log with another monday");

    forged.close()?;
    store.close()?;
    Ok(())
}

/// The keeper's part: an entry and the proof that it is in the log of `head`.
fn show(store: &Store, index: LogIndex, head: &TreeHead) -> Result<Evidence, Box<dyn Error>> {
    let (entry, body) = store.get_index(index)?.ok_or("the log is not that long")?;
    let proof = store.prove_inclusion_at(index, head.size)?;
    Ok(Evidence { index, time: entry.time, body, proof })
}

/// The auditor's part, without a store: the log only grew.
fn audit_growth(
    proof: &ConsistencyProof,
    old: &TreeHead,
    new: &TreeHead,
) -> Result<(), Box<dyn Error>> {
    Ok(proof.verify(old, new)?)
}

/// The auditor's part, without a store: this body was taken in as this entry, at this time.
fn audit_entry(evidence: &Evidence, head: &TreeHead) -> Result<(), Box<dyn Error>> {
    let id = blake3::hash(&evidence.body);
    let leaf = leaf_hash(evidence.time, id.as_bytes());
    Ok(evidence.proof.verify(&leaf, evidence.index, head)?)
}
