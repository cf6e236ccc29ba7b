//! Whole files from their parts, and back.

use std::sync::Arc;

use stemedb_store::InternalError;
use tokio::task::JoinSet;

use super::{
    Archive, ArchiveError, Fault,
    blocking::{blocking, ended},
    manifest::{Hex32, PART_LEN},
};

/// How many requests run at a time.
const REQUESTS_MAX: usize = 4;

/// Result of sending a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    pub(super) parts: Vec<Hex32>,
    /// Bytes that were not there before.
    pub(super) bytes: u64,
}

impl Archive {
    /// All bytes of a file. The caller knows that the length fits its parts and memory.
    pub(super) async fn get_file(
        &self,
        len: u64,
        parts: &[Hex32],
    ) -> Result<Vec<u8>, ArchiveError> {
        let mut running = JoinSet::new();
        let mut waiting = parts.iter().enumerate();
        let mut got = vec![Vec::new(); parts.len()];
        loop {
            while running.len() < REQUESTS_MAX
                && let Some((number, hash)) = waiting.next()
            {
                let (archive, hash) = (self.clone(), hash.0);
                let expected = part_len(len, number);
                running.spawn(async move { (number, archive.get_part(&hash, expected).await) });
            }
            let Some(done) = running.join_next().await else { break };
            let (number, bytes) = done.map_err(ended)?;
            *got.get_mut(number).ok_or_else(|| InternalError::new("the place of a part"))? = bytes?;
        }
        match <[Vec<u8>; 1]>::try_from(got) {
            Ok([only]) => Ok(only),
            Err(parts) => blocking(move || Ok(parts.concat())).await,
        }
    }

    /// Sends the bytes of a file, cut into parts, as far as they are not there yet.
    pub(super) async fn put_file(&self, bytes: Vec<u8>) -> Result<Sent, ArchiveError> {
        let mut running = JoinSet::new();
        let mut sent = Sent::default();
        let note = |done: Result<Result<u64, ArchiveError>, _>, sent: &mut Sent| {
            sent.bytes += done.map_err(ended)??;
            Ok::<(), ArchiveError>(())
        };
        let bytes = Arc::new(bytes);
        for number in 0..bytes.len().div_ceil(PART_LEN) {
            if running.len() >= REQUESTS_MAX
                && let Some(done) = running.join_next().await
            {
                note(done, &mut sent)?;
            }
            let whole = Arc::clone(&bytes);
            let cut = move || {
                let part = whole.chunks(PART_LEN).nth(number);
                let part = part.ok_or_else(|| InternalError::new("a part of a file"))?;
                Ok((*blake3::hash(part).as_bytes(), part.to_vec()))
            };
            let (hash, part) = blocking(cut).await?;
            sent.parts.push(Hex32(hash));
            let archive = self.clone();
            running.spawn(async move {
                let len = part.len() as u64;
                Ok(if archive.put_part(hash, part).await? { len } else { 0 })
            });
        }
        while let Some(done) = running.join_next().await {
            note(done, &mut sent)?;
        }
        Ok(sent)
    }
}

/// How long part `number` of a file is.
pub(super) fn part_len(len: u64, number: usize) -> u64 {
    let part_len = PART_LEN as u64;
    len.saturating_sub(part_len.saturating_mul(number as u64)).min(part_len)
}

impl ArchiveError {
    /// The fault of the archive, if it is one.
    pub(super) fn into_fault(self) -> Result<Fault, Self> {
        match self {
            Self::Damaged(fault) => Ok(fault),
            other => Err(other),
        }
    }
}
