//! The step that proves, verifies, and shows a damaged proof fail.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use stemedb::{AssertionId, Presence, ProofFile, Root, Store};

use super::lines::Lines;
use super::narrator::Narrator;
use crate::cli::failure::Failure;
use crate::cli::{output, proof_file};

/// An id that no body of the input has, as all but certainly no body at all.
const NEVER_APPENDED: AssertionId = AssertionId([0x5e; 32]);

/// A line of so many bytes says something; a closing brace does not.
const TELLING_LEN: usize = 40;

/// Where the proof of presence is written.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("present.stemedb-proof")
}

#[derive(Serialize)]
pub(super) struct Facts {
    id: String,
    siblings: usize,
    bytes: u64,
    present_verified: bool,
    absent_verified: bool,
    damaged_refused: bool,
}

pub(super) fn show(
    store: &Store,
    lines: &Lines,
    dir: &Path,
    narrator: &mut Narrator,
) -> Result<Facts, Failure> {
    let root = store.root()?;
    let mut later = lines.bodies.iter().skip(lines.bodies.len() / 2);
    let line = later.find(|line| line.len() >= TELLING_LEN).map_or(&b""[..], Vec::as_slice);
    // Appending what is held already tells its id.
    let id = store.append(line)?.id;

    narrator
        .step("Prove", "a small file shows anybody who trusts the root what the store holds")?;
    let file = ProofFile::from(store.prove(&id)?);
    let bytes = write(&path(dir), &file)?;
    let siblings = file.proof.siblings.len();
    narrator.row("line", &printable(line.trim_ascii()))?;
    narrator.row("id", &id.to_string())?;
    narrator.row("proof file", &format!("{} with {siblings} hashes", output::bytes(bytes)))?;

    narrator.step("Verify", "from the file and the root alone, without the store")?;
    expect(verify(&path(dir), &root)? == Some(Presence::Present), "a proof does not verify")?;
    narrator.row("held", &format!("present {id}"))?;
    let absent = dir.join("absent.stemedb-proof");
    write(&absent, &store.prove(&NEVER_APPENDED)?.into())?;
    expect(verify(&absent, &root)? == Some(Presence::Absent), "an absence does not verify")?;
    narrator.row("not held", &format!("absent  {NEVER_APPENDED}"))?;

    narrator.step("Damage", "one bit of one hash in the proof is flipped")?;
    let damaged = dir.join("damaged.stemedb-proof");
    write(&damaged, &flipped(file))?;
    expect(verify(&damaged, &root)?.is_none(), "a damaged proof verifies")?;
    narrator.row("verify", "refused: it leads to another root")?;
    Ok(Facts {
        id: id.to_string(),
        siblings,
        bytes,
        present_verified: true,
        absent_verified: true,
        damaged_refused: true,
    })
}

fn write(path: &Path, file: &ProofFile) -> Result<u64, Failure> {
    let text = file.write();
    fs::write(path, &text).map_err(|source| Failure::File {
        action: "write the proof",
        path: path.into(),
        source,
    })?;
    Ok(text.len() as u64)
}

/// Presence that the file proves, or none if it proves nothing.
fn verify(path: &Path, root: &Root) -> Result<Option<Presence>, Failure> {
    let (_, file) = proof_file::read(path)?;
    Ok(proof_file::verify(&file, root).ok())
}

fn flipped(mut file: ProofFile) -> ProofFile {
    if let Some(byte) = file.proof.siblings.first_mut().and_then(|hash| hash.first_mut()) {
        *byte ^= 1;
    } else {
        // A store of one assertion has a proof without siblings.
        file.proof.count ^= 1;
    }
    file
}

fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}

fn expect(holds: bool, what: &'static str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Demo { what }) }
}
