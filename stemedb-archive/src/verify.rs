//! Reads an archived log where it is, and says what is wrong with it.

use std::sync::Arc;

use super::{
    Archive, ArchiveError, Fault, Progress, Selection,
    blocking::blocking,
    fetch::part_len,
    list::{Listed, listed_of},
    manifest::Manifest,
    scan::Scan,
};
use stemedb_store::options::{Hashing, Secret};

/// Result of reading an archived log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The log, as its manifest has it.
    pub listed: Listed,
    /// How many bytes were read.
    pub bytes: u64,
    /// Whether bodies were held against their ids and the set was built.
    pub deep: bool,
    /// Errors; none for a log that is whole.
    pub faults: Vec<Fault>,
}

impl Archive {
    /// Reads all that the last manifest of a log names: each object against its name, each record
    /// against its checksums, the segments against one another, and all entries against the history
    /// root. With `deep`, also each body against its id, and all of them against the set root: that
    /// takes 100 bytes of memory an assertion, and the secret of a store that has one.
    ///
    /// Otherwise one segment at a time is in memory. Of a segment that is damaged nothing that
    /// comes behind it can be held against the roots; the objects are checked all the same.
    /// `progress` hears of bytes.
    ///
    /// # Errors
    ///
    /// If the storage can't be reached, no such log is there, or its last manifest is damaged. What
    /// is wrong with the log is in the result.
    pub async fn verify(
        &self,
        selection: &Selection,
        deep: bool,
        secret: Option<&Secret>,
        mut progress: impl FnMut(Progress),
    ) -> Result<Verified, ArchiveError> {
        let (number, manifest) = self.select(selection).await?;
        let manifest = Arc::new(manifest);
        let hashing = if deep { Some(hashing(&manifest, secret)?) } else { None };
        let total = manifest.bytes();
        let mut scan = Some(Scan::new(hashing, deep));
        let (mut faults, mut done) = (Vec::new(), 0);
        for archived in &manifest.segments {
            progress(Progress { done, total });
            match self.get_file(archived.len, &archived.parts).await {
                Ok(bytes) => {
                    scan = match scan.take() {
                        None => None,
                        Some(mut scan) => {
                            let (manifest, archived) = (Arc::clone(&manifest), archived.clone());
                            let taken = blocking(move || {
                                let taken = scan.take(&manifest, &archived, &bytes, &mut |_| {});
                                Ok(taken.map(|()| scan))
                            });
                            taken.await?.map_err(|fault| faults.push(fault)).ok()
                        }
                    };
                }
                Err(error) => {
                    faults.push(error.into_fault()?);
                    scan = None;
                }
            }
            done += archived.len;
        }
        let files = manifest.checkpoint.iter().flat_map(|checkpoint| &checkpoint.files);
        for file in files {
            for (number, part) in file.parts.iter().enumerate() {
                progress(Progress { done, total });
                let len = part_len(file.len, number);
                if let Err(error) = self.get_part(&part.0, len).await {
                    faults.push(error.into_fault()?);
                }
                done += len;
            }
        }
        progress(Progress { done, total });
        if let Some(scan) = scan {
            faults.extend(scan.finish(&manifest).err());
        }
        Ok(Verified { listed: listed_of(number, &manifest), bytes: done, deep, faults })
    }
}

/// How the ids of an archived log are made.
pub(super) fn hashing(
    manifest: &Manifest,
    secret: Option<&Secret>,
) -> Result<Hashing, ArchiveError> {
    match (manifest.secret, secret) {
        (true, None) => Err(ArchiveError::SecretMissing),
        (false, Some(_)) => Err(ArchiveError::SecretUnexpected),
        (_, secret) => Ok(Hashing::new(secret, false)),
    }
}
