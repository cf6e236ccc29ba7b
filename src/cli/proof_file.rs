//! Proof files read from disk or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use stemedb::{Presence, ProofError, ProofFile, Root, Terminal};

use super::failure::{Failure, Origin};

/// No file of a proof that can verify is longer: 256 siblings of 45 bytes and five short lines
/// make under 12 KiB.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// Reads a proof file; `-` is standard input.
pub(super) fn read(path: &Path) -> Result<(Origin, ProofFile), Failure> {
    let origin = Origin::of(path);
    let mut bytes = Vec::new();
    let read = match &origin {
        Origin::Stdin => io::stdin().take(FILE_LEN_MAX + 1).read_to_end(&mut bytes),
        Origin::File(path) => {
            File::open(path).and_then(|file| file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes))
        }
    };
    read.map_err(|source| Failure::Input { origin: origin.clone(), source })?;
    let file = ProofFile::parse(&bytes)
        .map_err(|source| Failure::NoProofFile { origin: origin.clone(), source })?;
    Ok((origin, file))
}

/// Checks a proof file against a root that is trusted. The file's own word for the root must
/// agree, too.
pub(super) fn verify(file: &ProofFile, trusted: &Root) -> Result<Presence, ProofError> {
    if file.root != *trusted {
        return Err(ProofError::OtherRoot);
    }
    file.proof.verify(trusted)
}

/// Claim of the file, whether or not it verifies.
pub(super) fn claims_presence(file: &ProofFile) -> bool {
    file.proof.terminal == Terminal::Id(file.proof.id)
}
