//! Drops segments that are archived, and reads them from there.

use std::{
    fmt, io,
    ops::Range,
    sync::{Arc, mpsc::sync_channel},
};

use object_store::ObjectStoreExt as _;
use stemedb_merkle::Hash;
use stemedb_wal::disk::SegmentSource;
use tokio::runtime::{Builder, Runtime};

use super::{
    Archive, ArchiveError, Fault, fetch::part_len, manifest::LogName, objects::parse,
    push::blocking,
};
use crate::store::Store;

/// Reads parts of archived segments. Has a runtime of its own: who reads a store may be in one that
/// must not wait, or in none.
struct Source {
    archive: Archive,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.archive.url).finish()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Whoever drops this may be in a runtime, where nothing may wait.
            runtime.shutdown_background();
        }
    }
}

impl SegmentSource for Source {
    fn read(&self, part: &Hash, range: Range<u64>) -> io::Result<Vec<u8>> {
        let runtime = self.runtime.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let (done, result) = sync_channel(1);
        let (archive, path) = (self.archive.clone(), self.archive.object_path(part));
        runtime.spawn(async move {
            let got = match parse(&path) {
                Ok(at) => {
                    let got = archive.objects.get_range(&at, range).await;
                    got.map_err(|source| Archive::failed("read", &path, source))
                }
                Err(error) => Err(error),
            };
            // Whoever asked waits for it.
            let _ = done.send(got.map(Vec::from).map_err(io::Error::other));
        });
        result.recv().map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?
    }
}

impl Archive {
    /// Where a store reads segments that were dropped: for [`Options::segment_source`], of any
    /// store that archives here.
    ///
    /// [`Options::segment_source`]: crate::Options::segment_source
    ///
    /// # Errors
    ///
    /// If the system has no thread to spare.
    pub fn segment_source(&self) -> Result<Arc<dyn SegmentSource>, ArchiveError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("stemedb-archive")
            .enable_all()
            .build()
            .map_err(ArchiveError::System)?;
        Ok(Arc::new(Source { archive: self.clone(), runtime: Some(runtime) }))
    }

    /// Drops the sealed segments of a store that are archived, but for the newest `keep` and those
    /// that opening would replay. Of each it is asked first whether its objects are there, and the
    /// segment here is held against their hashes. Returns how many were dropped.
    ///
    /// # Errors
    ///
    /// See [`ArchiveError`]. What was dropped until then stays dropped. A store that was opened
    /// without [`segment_source`](Self::segment_source) drops nothing.
    pub async fn drop_archived(&self, store: &Arc<Store>, keep: u64) -> Result<u64, ArchiveError> {
        let latest = self.latest(&LogName::of(&store.identity())).await?;
        let Some((_, manifest)) = latest.filter(|_| store.reads_dropped()) else { return Ok(0) };
        let gone = store.dropped_segments().map_err(ArchiveError::System)?;
        let covered = store.checkpoint_log_size();
        let local = store.sealed_segments();
        let old = local.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        let mut dropped = 0;
        for (segment, archived) in local.iter().take(old).zip(&manifest.segments) {
            if segment.next_index > covered || gone.contains(&segment.name) {
                continue;
            }
            for (number, part) in archived.parts.iter().enumerate() {
                if !self.has_part(&part.0, part_len(archived.len, number)).await? {
                    return Err(Fault::Missing { path: self.object_path(&part.0) }.into());
                }
            }
            let parts: Vec<Hash> = archived.parts.iter().map(|part| part.0).collect();
            let (store, name) = (Arc::clone(store), segment.name.clone());
            blocking(move || store.drop_segment(&name, &parts).map_err(ArchiveError::System))
                .await?;
            dropped += 1;
        }
        Ok(dropped)
    }
}
