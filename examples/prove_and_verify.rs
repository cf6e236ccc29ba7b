//! Prove that an assertion is held and that another is not, as files, to somebody without a store.
//!
//! ```sh
//! cargo run --example prove_and_verify
//! ```

use std::{error::Error, fs};

use stemedb::{AssertionId, Options, Presence, ProofFile, Proven, Root, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let store = Store::open(dir.path().join("store"), Options::default())?;
    let receipts = store.append_batch((0..10_000).map(|n| format!("certificate {n}")))?;
    let held = receipts.first().ok_or("nothing was appended")?.id;
    let absent = AssertionId(blake3::hash(b"certificate 10000").into());

    // The root is what the verifier must have from somebody it trusts.
    let root = store.root()?;
    println!("set root  {}, over {} assertions", root, store.len());

    for (id, presence) in [(held, Presence::Present), (absent, Presence::Absent)] {
        let proven = store.prove(&id)?;
        let path = dir.path().join(format!("{id}.stemedb-proof"));
        fs::write(&path, ProofFile::from(proven).write())?;

        let bytes = fs::read(&path)?;
        assert_eq!(check(&bytes, &id, &root)?, presence);
        println!("proved    {id} {presence:?}, with a file of {} bytes", bytes.len());

        // Whatever bit is flipped, the file is refused.
        let mut refused = 0;
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            if let Some(byte) = damaged.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            refused += usize::from(check(&damaged, &id, &root).is_err());
        }
        assert_eq!(refused, 8 * bytes.len());
        println!("refused   {refused} files that differ from it in one bit");
    }

    assert!(store.prove_absence(&held)?.is_none(), "nobody can prove that it is not held");
    store.append(b"certificate 10000")?;
    let Proven { proof, head } = store.prove(&absent)?;
    assert_eq!(proof.verify(&head.set_root)?, Presence::Present);
    assert!(proof.verify(&root).is_err());
    println!("appended  the absent one: present under the new root, and no proof for the old one");
    store.close()?;
    Ok(())
}

/// The verifier's part, without a store: is `id` in the set that `root` commits to?
fn check(file: &[u8], id: &AssertionId, root: &Root) -> Result<Presence, Box<dyn Error>> {
    let ProofFile { proof, root: claimed } = ProofFile::parse(file)?;
    if proof.id != id.0 {
        return Err("the proof is about another id".into());
    }
    if claimed != *root {
        return Err("the proof is for another root".into());
    }
    Ok(proof.verify(root)?)
}
