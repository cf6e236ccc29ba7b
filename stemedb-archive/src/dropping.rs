//! Drops segments that are archived, and reads them from there.

use std::{
    fmt, io,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::sync_channel,
    },
    time::Duration,
};

use object_store::ObjectStoreExt as _;
use stemedb_merkle::Hash;
use stemedb_wal::remote::SegmentSource;
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};

use super::{
    Archive, ArchiveError, blocking::blocking, fetch::part_len, manifest::LogName, objects::parse,
    push::check_front,
};
use stemedb_store::store::Store;

/// Time limit of reading a body, however long requests are tried again.
const READ_TIME_MAX: Duration = Duration::from_secs(30);

/// So long nothing is asked of an archive that did not answer: a session that reads a thousand
/// bodies is not to wait a thousand times.
const REST_TIME: Duration = Duration::from_secs(5);

/// Reads parts of archived segments. Has a runtime of its own: who reads a store may be in one that
/// must not wait, or in none.
struct Source {
    url: String,
    /// Made by the first read: a store opens, and takes appends, without its archive.
    reading: Mutex<Option<Reading>>,
}

struct Reading {
    archive: Archive,
    runtime: Runtime,
    /// Whether the archive did not answer a moment ago.
    resting: Arc<AtomicBool>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.url).finish()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let reading = self.reading.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reading) = reading {
            // It may be dropped in a runtime, where nothing may wait.
            reading.runtime.shutdown_background();
        }
    }
}

impl SegmentSource for Source {
    fn read(&self, part: &Hash, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (done, result) = sync_channel(1);
        {
            let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            let reading = match &mut *reading {
                Some(reading) => reading,
                none => none.insert(Reading::new(&self.url)?),
            };
            if reading.resting.load(Ordering::Relaxed) {
                return Err(io::Error::other("it did not answer a moment ago"));
            }
            let (archive, path) = (reading.archive.clone(), reading.archive.object_path(part));
            let resting = Arc::clone(&reading.resting);
            reading.runtime.spawn(async move {
                let got = timeout(READ_TIME_MAX, archive.get_bytes(&path, range)).await;
                let (got, answered) = match got {
                    Ok(Ok(bytes)) => (Ok(bytes), true),
                    Ok(Err(error)) => {
                        let missing = matches!(
                            &error, ArchiveError::Remote { source, .. } if source.is_missing()
                        );
                        (Err(io::Error::other(error)), missing)
                    }
                    Err(_) => (Err(io::ErrorKind::TimedOut.into()), false),
                };
                resting.store(!answered, Ordering::Relaxed);
                // The caller may have gone.
                let _ = done.send(got);
                if !answered {
                    sleep(REST_TIME).await;
                    resting.store(false, Ordering::Relaxed);
                }
            });
        }
        // The task ends in time, or with the runtime.
        result.recv().map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?
    }
}

impl Reading {
    fn new(url: &str) -> io::Result<Self> {
        let archive = Archive::open(url).map_err(io::Error::other)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("stemedb-archive")
            .enable_all()
            .build()?;
        Ok(Self { archive, runtime, resting: Arc::default() })
    }
}

/// Where a store reads the bodies of segments that were dropped: for
/// [`Options::segment_source`](stemedb_store::Options::segment_source). Nothing is asked of the
/// archive before a body is read that is only there; it need not even be there before.
///
/// Reads wait for the network, each for half a minute at most: a program that uses an asynchronous
/// runtime reads in a thread that may wait, as it does for the disk.
pub fn segment_source(url: &str) -> Arc<dyn SegmentSource> {
    Arc::new(Source { url: url.to_owned(), reading: Mutex::default() })
}

/// Result of dropping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// How many segments were dropped.
    pub segments: u64,
    /// How many bytes they had; some 80 for each entry are still here.
    pub bytes: u64,
}

impl Archive {
    /// These bytes of an object, unchecked.
    async fn get_bytes(&self, path: &str, range: Range<u64>) -> Result<Vec<u8>, ArchiveError> {
        let got = self.objects.get_range(&parse(path)?, range).await;
        Ok(got.map_err(|source| Self::failed("read", path, source))?.into())
    }

    /// Drops the bodies of sealed segments of a store that are archived, but for the newest `keep`
    /// segments and those that opening would replay. Each is first read back from the archive,
    /// whole, against the hashes of its parts; and what is here is held against them too. The
    /// heads of all records stay: only reading a body needs the archive from then on.
    ///
    /// # Errors
    ///
    /// See [`ArchiveError`]. What was dropped until then stays dropped. A store that was opened
    /// without [`segment_source`] drops nothing.
    pub async fn drop_archived(
        &self,
        store: &Arc<Store>,
        keep: u64,
    ) -> Result<Dropped, ArchiveError> {
        let mut dropped = Dropped::default();
        let log = LogName::of(&store.identity());
        let latest = self.latest(&log).await?;
        let Some((_, manifest)) = latest.filter(|_| store.reads_dropped()) else {
            return Ok(dropped);
        };
        let gone = store.dropped_segments()?;
        let covered = store.checkpoint_log_size();
        let local = store.sealed_segments();
        // Those that are archived are those that are here.
        check_front(&log, &manifest.segments, &local)?;
        let old = local.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
        for (segment, archived) in local.iter().take(old).zip(&manifest.segments) {
            if segment.next_index > covered.next_index() || gone.contains(&segment.name) {
                continue;
            }
            for (number, part) in archived.parts.iter().enumerate() {
                self.get_part(&part.0, part_len(archived.len, number)).await?;
            }
            let parts: Vec<Hash> = archived.parts.iter().map(|part| part.0).collect();
            let (store, name, url) = (Arc::clone(store), segment.name.clone(), self.url.clone());
            dropped.bytes += blocking(move || {
                let freed = store.drop_segment(&name, &url, &parts);
                freed.map_err(|error| ArchiveError::System(io::Error::other(error)))
            })
            .await?;
            dropped.segments += 1;
        }
        Ok(dropped)
    }
}
