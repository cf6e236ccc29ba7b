//! Sends what of a log is not in the archive yet.

use std::{collections::HashSet, sync::Arc};

use stemedb_merkle::{Hash, LogIndex, LogSize, Root, Timestamp};
use stemedb_wal::{
    log::Kind,
    sealed::{HEADER_LEN, SealedSegment, check_segment},
};

use super::{
    Archive, ArchiveError, Progress,
    blocking::blocking,
    manifest::{
        ArchivedCheckpoint, ArchivedFile, ArchivedSegment, FORMAT, Hex32, LogName, Manifest,
        PART_LEN,
    },
    objects::Put,
    scan::check_bodies,
};
use stemedb_store::{Head, InternalError, Store, store::CheckpointFiles};

/// Attempts, each of which another writer may come before.
const ATTEMPTS_MAX: usize = 8;

stemedb_merkle::options! {
    /// Options of sending.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PushOptions {
        /// Whether the open segment is sealed first, so that everything that was acknowledged is
        /// sent. Each time makes a segment, however short. Default: no.
        pub seal: bool = false,
        /// Whether it is asked of each segment, also of those sent before, if its objects are still
        /// there, and sent again if not. Reads the whole log. Default: no.
        pub again: bool = false,
    }
}

/// Result of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// How many segments were sent.
    pub segments: u64,
    /// How many bytes were sent, those of the restart checkpoint included; what was there already
    /// does not count.
    pub bytes: u64,
    /// The number of the manifest that is there now; 0 if there is none, for nothing is sealed.
    pub manifest: u64,
    /// When that was written, in seconds since 1970.
    pub time: Option<u64>,
    /// Head of the archived log now. The time of the last entry is unknown: 0.
    pub head: Head,
}

impl Archive {
    /// Sends the sealed segments of a store that are not there yet and, if it reaches no further
    /// than they do, the restart checkpoint; then says in a new manifest that they are there.
    ///
    /// Can be cut at any point and run again, also by others at the same time. Each segment is
    /// checked before it is sent. Appends and reads go on meanwhile. One segment at a time is in
    /// memory. `progress` hears of bytes of the log.
    ///
    /// # Errors
    ///
    /// See [`ArchiveError`]. What was sent stays; the manifest before is still the last one.
    pub async fn push(
        &self,
        store: &Arc<Store>,
        options: PushOptions,
        mut progress: impl FnMut(Progress),
    ) -> Result<Pushed, ArchiveError> {
        let log = LogName::of(&store.identity());
        if options.seal {
            let store = Arc::clone(store);
            blocking(move || {
                if store.seal_log()? {
                    // So that what is sent has a checkpoint that covers it.
                    store.checkpoint()?;
                }
                Ok(())
            })
            .await?;
        }
        let mut pushed = Pushed { segments: 0, bytes: 0, manifest: 0, time: None, head: NOTHING };
        for _ in 0..ATTEMPTS_MAX {
            let latest = self.latest(&log).await?;
            let number = latest.as_ref().map_or(0, |(number, _)| *number);
            let before = latest.map(|(_, manifest)| manifest);
            let next = self.send(store, before.as_ref(), options, &mut pushed, &mut progress);
            let next = next.await?;
            let Some(manifest) = next else {
                pushed.manifest = number;
                pushed.time = before.as_ref().map(|before| before.time);
                pushed.head = before.as_ref().map_or(NOTHING, super::list::head_of);
                return Ok(pushed);
            };
            if self.put_manifest(&manifest, number + 1).await? == Put::Done {
                pushed.manifest = number + 1;
                pushed.time = Some(manifest.time);
                pushed.head = super::list::head_of(&manifest);
                return Ok(pushed);
            }
        }
        Err(ArchiveError::Contended { log: log.to_string() })
    }

    /// Sends what the manifest before does not have; the next manifest, unless it would be the
    /// same.
    async fn send(
        &self,
        store: &Arc<Store>,
        before: Option<&Manifest>,
        options: PushOptions,
        pushed: &mut Pushed,
        progress: &mut impl FnMut(Progress),
    ) -> Result<Option<Manifest>, ArchiveError> {
        let identity = store.identity();
        let local = store.sealed_segments();
        let archived = before.map_or(&[][..], |manifest| &manifest.segments);
        check_front(&LogName::of(&identity), archived, &local)?;
        let kept = if options.again { &[] } else { archived };
        let mut segments = kept.to_vec();
        let known = before.filter(|_| !options.again);
        let mut holes = known.map(Manifest::hole_ids).unwrap_or_default();
        let new = local.get(kept.len()..).ok_or_else(|| InternalError::new("a segment"))?;
        let total: u64 = new.iter().map(|segment| segment.len).sum();
        let mut done = 0;
        for segment in new {
            progress(Progress { done, total });
            let (bytes, lost, healed) = read(store, segment).await?;
            let sent = self.put_file(bytes).await?;
            holes.extend(lost);
            holes.retain(|id| !healed.contains(id));
            segments.push(ArchivedSegment {
                first_index: segment.first_index.get(),
                next_index: segment.next_index.get(),
                first_position: segment.first_position.get(),
                len: segment.len,
                parts: sent.parts,
            });
            pushed.segments += u64::from(sent.bytes > 0);
            pushed.bytes += sent.bytes;
            done += segment.len;
        }
        progress(Progress { done, total });
        let Some(last) = segments.last() else { return Ok(None) };
        let (log_size, end) = (last.next_index, last.first_position + last.len);
        let present = before.and_then(|manifest| manifest.checkpoint.clone());
        let checkpoint = self.send_checkpoint(store, (log_size, end), present, pushed).await?;
        if before
            .is_some_and(|before| before.segments == segments && before.checkpoint == checkpoint)
        {
            return Ok(None);
        }
        let (shared, missing) = (Arc::clone(store), holes.clone());
        let head = blocking(move || Ok(shared.front_head(LogSize(log_size), &missing)?)).await?;
        let mut holes: Vec<Hex32> = holes.into_iter().map(Hex32).collect();
        holes.sort_unstable();
        Ok(Some(Manifest {
            format: FORMAT.to_owned(),
            store_id: identity.store_id,
            node_id: identity.node_id,
            epoch: identity.epoch,
            generation: identity.generation,
            salt_seed: identity.salt_seed,
            secret: identity.secret_check.is_some(),
            time: store.clock_time().unix().0.into(),
            log_size,
            log_root: Hex32(head.log_root.0),
            count: head.count,
            set_root: Hex32(head.set_root.0),
            holes,
            segments,
            checkpoint,
        }))
    }

    /// Sends the restart checkpoint, if it covers nothing but what is archived. What to write down:
    /// that one, or the one that was there before.
    async fn send_checkpoint(
        &self,
        store: &Arc<Store>,
        (log_size, end): (u64, u64),
        before: Option<ArchivedCheckpoint>,
        pushed: &mut Pushed,
    ) -> Result<Option<ArchivedCheckpoint>, ArchiveError> {
        let shared = Arc::clone(store);
        let files = blocking(move || shared.checkpoint_files().map_err(ArchiveError::System));
        let Some(CheckpointFiles { covered, files }) = files.await? else { return Ok(before) };
        let reached = (covered.next_index, covered.position);
        let fits = reached.0 <= log_size && reached.1 <= end + HEADER_LEN as u64;
        let newer = before.as_ref().is_none_or(|before| before.log_size < reached.0);
        if !fits || !newer || reached.0 == 0 {
            return Ok(before);
        }
        let mut archived = Vec::new();
        for (name, len, file) in files {
            let mut parts = Vec::new();
            let mut offset = 0;
            while offset < len {
                let wanted =
                    usize::try_from(len - offset).map_or(PART_LEN, |rest| rest.min(PART_LEN));
                let (file, from) = (Arc::clone(&file), offset);
                let part = blocking(move || {
                    let mut part = vec![0; wanted];
                    let read = file.read_at(&mut part, from).map_err(ArchiveError::System)?;
                    part.truncate(read);
                    Ok(part)
                });
                let part = part.await?;
                if part.len() != wanted {
                    return Err(ArchiveError::System(std::io::ErrorKind::UnexpectedEof.into()));
                }
                let sent = self.put_file(part).await?;
                parts.extend(sent.parts);
                pushed.bytes += sent.bytes;
                offset += wanted as u64;
            }
            archived.push(ArchivedFile { name, len, parts });
        }
        Ok(Some(ArchivedCheckpoint { log_size: reached.0, position: reached.1, files: archived }))
    }
}

const NOTHING: Head = Head {
    count: 0,
    set_root: Root([0; 32]),
    log_size: LogSize(0),
    log_root: Root([0; 32]),
    last_time: Timestamp::MIN,
};

/// Checks that the archived log is the front of this one.
pub(super) fn check_front(
    log: &LogName,
    archived: &[ArchivedSegment],
    local: &[SealedSegment],
) -> Result<(), ArchiveError> {
    let mut local = local.iter();
    for archived in archived {
        let same = local.next().is_some_and(|local| {
            let here = (
                local.first_index.get(),
                local.next_index.get(),
                local.first_position.get(),
                local.len,
            );
            here == (
                archived.first_index,
                archived.next_index,
                archived.first_position,
                archived.len,
            )
        });
        if !same {
            let index = LogIndex(archived.first_index);
            return Err(ArchiveError::OtherLog { log: log.to_string(), index });
        }
    }
    Ok(())
}

/// Reads a segment and checks it. Also returns the ids of bodies that it lacks, and of such that
/// come back in it.
async fn read(
    store: &Arc<Store>,
    segment: &SealedSegment,
) -> Result<(Vec<u8>, HashSet<Hash>, HashSet<Hash>), ArchiveError> {
    let (store, segment) = (Arc::clone(store), segment.clone());
    blocking(move || {
        let bytes = store.read_sealed(&segment)?;
        let name = || segment.name.clone();
        let found = check_segment(&bytes)
            .map_err(|fault| ArchiveError::LocalDamage { name: name(), fault })?;
        check_bodies(store.hashing(), &found, &bytes)
            .map_err(|index| ArchiveError::LocalBody { name: name(), index })?;
        let ids = |kind| {
            let records = found.placed.iter().filter(move |placed| placed.kind == kind);
            records.map(|placed| placed.id).collect()
        };
        let (lost, healed) = (ids(Kind::Hole), ids(Kind::Heal));
        Ok((bytes, lost, healed))
    })
    .await
}
