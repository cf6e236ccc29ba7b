//! A new generation of segments: all entries that are still known, copied.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use stemedb_merkle::{Hash, Timestamp};

use super::{
    HashBody, RepairAction, RepairError, RepairOptions, RepairReport,
    plan::{Gap, Plan, open_segment},
    quarantine,
};
use crate::{
    disk::SPARE_NAME,
    files,
    identity::Identity,
    internal::part,
    log::{
        Log, LogOptions, Origin, Spares, Watermark, create_first,
        encode::{As, ToRecord},
        handles::Handles,
    },
    record::{HEAD_LEN, Head, Kind},
    remote::LogDir,
    scan::file::SegmentFile,
    segment::parse_segment_name,
};

/// How much is copied with one batch, in bytes.
const COPY_LEN: u64 = 1 << 20;

/// An entry on its way into the new generation.
struct Restored {
    id: Hash,
    time: u64,
    kind: Kind,
    body: Vec<u8>,
}

impl ToRecord for Restored {
    fn id(&self) -> Hash {
        self.id
    }

    fn body(&self) -> &[u8] {
        &self.body
    }

    fn to_be(&self) -> As {
        As::Restored { kind: self.kind, time: self.time }
    }
}

/// Copies what can be read, switches the identity to it, and quarantines the old segments. Where
/// the copy fails, nothing of it is left.
pub(super) fn begin(
    disk: &LogDir,
    identity: &mut Identity,
    options: &RepairOptions<'_>,
    plan: &Plan,
    report: &mut RepairReport,
) -> Result<(), RepairError> {
    let mut next = identity.next_generation().ok_or(RepairError::Exhausted)?;
    // A repair that was cut short left these: the store has its own segments still.
    remove_generation(disk, next.generation)?;
    let end = copy(disk, &next, options, plan, report).inspect_err(|_| {
        // A full disk must not keep a copy of each try. What cannot be removed is removed by the
        // next repair.
        let _ = disk.remove(SPARE_NAME);
        let _ = remove_generation(disk, next.generation);
    })?;
    next.clean = Some(end);
    next.save(&**disk)?;
    *identity = next;
    report.new_generation = Some(identity.generation);
    report.actions.push(RepairAction::Copied { entries: end.next_index.get() });
    for segment in &plan.segments {
        quarantine(disk, &segment.name, report)?;
    }
    files::sync_dir(&**disk)?;
    Ok(())
}

/// Copies all known entries into a new log.
fn copy(
    disk: &LogDir,
    next: &Identity,
    options: &RepairOptions<'_>,
    plan: &Plan,
    report: &mut RepairReport,
) -> Result<Watermark, RepairError> {
    let hash = options.hash;
    let mut log = create(disk, &Origin::from(next), options.log)?;
    let healed = find_healed(plan);
    let mut waiting = Vec::new();
    let mut waiting_len = 0;
    let mut last_time = 0;
    for segment in &plan.segments {
        let (bytes, found) = segment.read(disk, hash)?;
        for known in found.records.iter().filter(|known| known.head.kind.takes_index()) {
            let head = known.head;
            if head.time <= last_time {
                // The plan has counted it as lost, and told.
                continue;
            }
            last_time = head.time;
            let at = known.offset + HEAD_LEN;
            let body = known.body.then(|| part(&bytes, at..at + head.len as usize));
            let body = match (body, healed.get(&head.id)) {
                (Some(body), _) => Some(body.to_vec()),
                (None, Some(healed)) => read_healed(disk, plan, healed, hash)?,
                (None, None) => None,
            };
            let kind = if body.is_some() { Kind::Entry } else { Kind::Hole };
            if kind == Kind::Hole {
                let index = log.next_index() + waiting.len() as u64;
                let (time, id) = (head.time, head.id);
                report.actions.push(RepairAction::Hole {
                    index,
                    time: Timestamp::from_ntp64(time),
                    id,
                });
            }
            let body = body.unwrap_or_else(|| vec![0; head.len as usize]);
            let restored = Restored { id: head.id, time: head.time, kind, body };
            waiting_len += restored.record_len();
            waiting.push(restored);
            if waiting_len >= COPY_LEN {
                log.restore(&waiting)?;
                waiting.clear();
                waiting_len = 0;
            }
        }
    }
    if !waiting.is_empty() {
        log.restore(&waiting)?;
    }
    Ok(log.close()?)
}

fn create(disk: &LogDir, origin: &Origin, options: &LogOptions) -> Result<Log, RepairError> {
    let recovered = create_first(Arc::new(Handles::new(disk.clone(), false)), origin)?;
    let options = options.clone().spares(Spares::None);
    Ok(Log::from_recovered(origin, &options, recovered))
}

fn remove_generation(disk: &LogDir, generation: u32) -> Result<(), RepairError> {
    let of_it = |name: &String| parse_segment_name(name).is_some_and(|(of, _)| of == generation);
    let mut removed = false;
    for name in files::list_segments(disk)?.into_iter().filter(of_it) {
        files::remove_segment(disk, &name)?;
        removed = true;
    }
    if removed { Ok(files::sync_dir(&**disk)?) } else { Ok(()) }
}

/// The last whole body that was appended for each entry that had lost its own.
fn find_healed(plan: &Plan) -> HashMap<Hash, Gap> {
    let of_kind = |kind| plan.gaps.iter().filter(move |gap| gap.kind == kind);
    let lost: HashSet<Hash> = of_kind(Kind::Hole).map(|gap| gap.head.id).collect();
    let healed = of_kind(Kind::Heal).filter(|gap| lost.contains(&gap.head.id));
    healed.map(|gap| (gap.head.id, *gap)).collect()
}

/// The body of a heal, if the disk still gives what it gave before: the caller makes a hole
/// otherwise.
fn read_healed(
    disk: &LogDir,
    plan: &Plan,
    healed: &Gap,
    hash: Option<HashBody<'_>>,
) -> Result<Option<Vec<u8>>, RepairError> {
    let Gap { segment, position, head, .. } = *healed;
    let Some(segment) = plan.segments.get(segment) else { return Ok(None) };
    let (name, salt) = (&segment.name, segment.header.salt);
    let file = open_segment(disk, name)?;
    let file = SegmentFile { disk: &**disk, name, file: &file };
    let mut record = vec![0; HEAD_LEN + head.len as usize];
    let read = file.read_at(&mut record, position - segment.header.first_position)?;
    record.truncate(read);
    // A head that was put together again is not on the disk.
    let head = Head::parse(&record, salt, position).unwrap_or(head);
    let body = record.split_off(HEAD_LEN.min(read));
    let whole = head.id == healed.head.id
        && head.covers(&body, salt, position)
        && hash.is_none_or(|hash| hash.id(&body) == head.id);
    Ok(whole.then_some(body))
}
