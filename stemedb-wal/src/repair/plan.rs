//! What is there, what is wrong with it, and whether it can be mended in its place.

use std::collections::BTreeMap;

use super::{
    HashBody, RepairError,
    autopsy::{self, Autopsy, Context, Remedy, Wrong},
    verify::{Kept, trailer_of, walk_kept},
};
use crate::{
    disk::{Disk, stub_name},
    error::{Action, Damage, DamageKind},
    identity::Identity,
    log::{Watermark, further},
    record::{Head, Kind},
    recovery::{
        survey::{failed, read_kept, read_whole, stub_damage},
        tail::{self, marked_behind},
        walk::Walker,
    },
    segment::{
        HEADER_LEN, HeaderError, SEGMENT_LEN_MAX, SegmentHeader, parse_segment_name, segment_name,
        segment_salt,
    },
};

/// What there is of a log.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) segments: Vec<SegmentPlan>,
    /// Files under names of segments that are none of this log's.
    pub(crate) strays: Vec<String>,
    /// Whether entries are lost.
    pub(crate) lost: bool,
    /// Where the log ends.
    pub(crate) end: Watermark,
    /// The furthest place up to which it is known to have been durable.
    pub(crate) mark: Option<Watermark>,
}

/// One segment: what it is, and what is wrong with it. Its bytes are read again when needed.
#[derive(Debug)]
pub(crate) struct SegmentPlan {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) wrong: Vec<Wrong>,
    pub(crate) len: u64,
    batches_end: Option<u64>,
    sealed_len: Option<u64>,
    marked: u64,
    entries: Option<u64>,
    /// How long the last segment was when the log was closed.
    closed_len: u64,
    next_sum: Option<u32>,
    /// Whether its bodies are only in an archive.
    remote: bool,
}

/// A segment as it was and as it should be.
#[derive(Debug)]
pub(crate) struct Mended {
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
    pub(crate) holes: Vec<Head>,
}

/// A file that seems to be a segment.
struct Candidate {
    name: String,
    len: u64,
    header: Option<SegmentHeader>,
    /// Whether its bodies are only in an archive.
    remote: bool,
}

/// Reads the whole log and makes the plan.
pub(crate) fn make_plan(
    disk: &dyn Disk,
    identity: &Identity,
    mark: Option<Watermark>,
    hash: Option<HashBody<'_>>,
    progress: &mut dyn FnMut(u64),
) -> Result<Plan, RepairError> {
    let mark = further(identity.clean.map(Watermark::from), mark);
    let mut plan = Plan { mark, ..Plan::default() };
    let candidates = candidates(disk, identity, &mut plan.strays)?;
    let mut expected = Expected::first();
    let count = candidates.len();
    let headers: Vec<Option<SegmentHeader>> =
        candidates.values().map(|candidate| candidate.header).collect();
    let mut read = 0;
    for (n, (first_index, candidate)) in candidates.into_iter().enumerate() {
        let rebuilt = expected.header(identity, first_index);
        let header = candidate.header.unwrap_or(rebuilt);
        if first_index != expected.next_index || header != rebuilt {
            plan.lost = true;
        }
        let next = headers.get(n + 1).copied().flatten();
        if candidate.remote {
            let (kept, segment) = kept(disk, candidate, header, n + 1 == count)?;
            let follows = next.is_none_or(|next| {
                (next.first_index, next.previous_sum) == (kept.next_index, kept.trailer_sum)
            });
            plan.lost |= !follows;
            read += segment.len;
            expected = Expected {
                next_index: kept.next_index,
                position: header.first_position + segment.len,
                previous_sum: kept.trailer_sum,
                last_time: kept.last_time,
            };
            plan.end = Watermark { position: expected.position, next_index: expected.next_index };
            plan.segments.push(segment);
            progress(read);
            continue;
        }
        let mut bytes = read_segment(disk, &candidate.name)?;
        read += bytes.len() as u64;
        let mut segment = SegmentPlan {
            header,
            wrong: Vec::new(),
            len: candidate.len,
            batches_end: trailer_of(&bytes, &header).map(|trailer| trailer.batches_end),
            sealed_len: match next {
                Some(next) => next.first_position.checked_sub(header.first_position),
                None if n + 1 < count => Some(candidate.len),
                None => None,
            },
            marked: u64::MAX,
            entries: None,
            closed_len: 0,
            next_sum: next.map(|next| next.previous_sum),
            name: candidate.name,
            remote: false,
        };
        if candidate.header.is_none() {
            let (offset, index, remedy) = (0, first_index, Remedy::Rewrite);
            let what = DamageKind::SegmentHeader;
            segment.wrong.push(Wrong { offset, index, what, remedy });
        }
        if n + 1 == count {
            segment.last(&bytes, mark);
        }
        segment.pad(&mut bytes);
        let found = segment.examine(&bytes, hash);
        segment.wrong.extend(&found.wrong);
        expected = segment.check_end(&bytes, &found, next.as_ref(), plan.lost);
        plan.lost |= segment.is_lost();
        let position = segment.header.first_position + found.end as u64;
        plan.end = Watermark { position, next_index: found.next_index };
        plan.segments.push(segment);
        progress(read);
    }
    plan.lost |= mark.is_some_and(|mark| mark.next_index > plan.end.next_index);
    plan.lost |= plan.segments.is_empty() && mark.is_some();
    Ok(plan)
}

/// All files that can be segments of this generation, by first index.
fn candidates(
    disk: &dyn Disk,
    identity: &Identity,
    strays: &mut Vec<String>,
) -> Result<BTreeMap<u64, Candidate>, RepairError> {
    let names = disk.list().map_err(|source| failed(disk, Action::List, "", source))?;
    let mut candidates: BTreeMap<u64, Candidate> = BTreeMap::new();
    for name in names {
        let Some((generation, named_index)) = parse_segment_name(&name) else { continue };
        if generation != identity.generation {
            strays.push(name);
            continue;
        }
        let file = disk.open(&name).map_err(|source| match stub_damage(disk, &name, &source) {
            Some(damage) => RepairError::Stub(damage),
            None => failed(disk, Action::Open, &name, source).into(),
        })?;
        let len = file.len().map_err(|source| failed(disk, Action::Measure, &name, source))?;
        let mut bytes = [0; HEADER_LEN];
        let read = crate::recovery::survey::read_at(disk, &name, &*file, &mut bytes, 0)?;
        let header = match SegmentHeader::parse(bytes.get(..read).unwrap_or_default()) {
            Ok(header) => Some(header),
            Err(HeaderError::Damaged) => None,
            Err(HeaderError::Version(version)) => {
                return Err(RepairError::Version { path: disk.path(&name), version });
            }
        };
        let foreign = header.is_some_and(|header| {
            header.store_id != identity.store_id || header.generation != identity.generation
        });
        if foreign {
            strays.push(name);
            continue;
        }
        let first_index = header.map_or(named_index, |header| header.first_index);
        let candidate = Candidate { name, len, header, remote: file.is_remote() };
        let misnamed = first_index != named_index;
        match candidates.get(&first_index) {
            // Of two that say the same, the one with the right name stays.
            Some(_) if misnamed => strays.push(candidate.name),
            _ => {
                if let Some(other) = candidates.insert(first_index, candidate) {
                    strays.push(other.name);
                }
            }
        }
    }
    Ok(candidates)
}

/// What the header of the next segment should say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    next_index: u64,
    position: u64,
    previous_sum: u32,
    last_time: u64,
}

impl Expected {
    fn first() -> Self {
        Self { next_index: 0, position: 0, previous_sum: 0, last_time: 0 }
    }

    fn header(&self, identity: &Identity, first_index: u64) -> SegmentHeader {
        SegmentHeader {
            store_id: identity.store_id,
            generation: identity.generation,
            previous_sum: self.previous_sum,
            first_index,
            first_position: self.position,
            salt: segment_salt(&identity.salt_seed, identity.generation, first_index),
            time_before: self.last_time,
        }
    }
}

/// A segment that is in an archive, by what is kept of it here: that is whole, or somebody has to
/// put it back.
fn kept(
    disk: &dyn Disk,
    candidate: Candidate,
    header: SegmentHeader,
    is_last: bool,
) -> Result<(Kept, SegmentPlan), RepairError> {
    let Candidate { name, len, .. } = candidate;
    let file = disk.open(&name).map_err(|source| failed(disk, Action::Open, &name, source))?;
    let stub = stub_name(&name).unwrap_or_else(|| name.clone());
    let (path, index) = (disk.path(&stub), header.first_index);
    let damage = Damage { path, offset: 0, index, what: DamageKind::Stub };
    let bytes = read_kept(disk, &name, &*file, len)?.map_err(RepairError::Stub)?;
    let proper = segment_name(header.generation, header.first_index) == name;
    let kept = walk_kept(&header, &bytes).filter(|_| proper);
    let kept = kept.ok_or(RepairError::Stub(damage))?;
    if is_last {
        let path = disk.path(&segment_name(header.generation, kept.next_index));
        return Err(RepairError::Behind { path });
    }
    let segment = SegmentPlan {
        header,
        wrong: Vec::new(),
        len,
        batches_end: trailer_of(&bytes, &header).map(|trailer| trailer.batches_end),
        sealed_len: Some(len),
        marked: u64::MAX,
        entries: None,
        closed_len: 0,
        next_sum: Some(kept.trailer_sum),
        name,
        remote: true,
    };
    Ok((kept, segment))
}

fn read_segment(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, RepairError> {
    let file = disk.open(name).map_err(|source| failed(disk, Action::Open, name, source))?;
    let len = file.len().map_err(|source| failed(disk, Action::Measure, name, source))?;
    Ok(read_whole(disk, name, &*file, len)?)
}

impl SegmentPlan {
    /// The name that the segment should have.
    pub(crate) fn proper_name(&self) -> String {
        segment_name(self.header.generation, self.header.first_index)
    }

    /// What is known about the last segment.
    fn last(&mut self, bytes: &[u8], mark: Option<Watermark>) {
        let clean = mark.map_or(0, |mark| mark.position);
        self.closed_len = clean.saturating_sub(self.header.first_position);
        self.entries = mark.map(|mark| mark.next_index);
        self.marked = clean.max(marked_behind(bytes, HEADER_LEN, &self.header));
        self.batches_end =
            tail::examine(bytes, &self.header, clean, None).ok().map(|tail| tail.reached.offset);
    }

    /// The bytes of the segment, and what can be told of them.
    pub(crate) fn read(
        &self,
        disk: &dyn Disk,
        hash: Option<HashBody<'_>>,
    ) -> Result<(Vec<u8>, Autopsy), RepairError> {
        let mut bytes = read_segment(disk, &self.name)?;
        self.pad(&mut bytes);
        let found = self.examine(&bytes, hash);
        if self.remote && !found.wrong.is_empty() {
            return Err(RepairError::Archive { path: disk.path(&self.name) });
        }
        Ok((bytes, found))
    }

    /// Takes zeros for what is cut off: then what is lost of the last records is only their end.
    fn pad(&self, bytes: &mut Vec<u8>) {
        let len = self.sealed_len.unwrap_or(self.closed_len).min(SEGMENT_LEN_MAX);
        let len = usize::try_from(len).unwrap_or(0);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
    }

    fn examine(&self, bytes: &[u8], hash: Option<HashBody<'_>>) -> Autopsy {
        let context = Context {
            header: &self.header,
            batches_end: self.batches_end,
            sealed_len: self.sealed_len,
            marked: self.marked,
            entries: self.entries,
            hash,
        };
        autopsy::examine(bytes, &context)
    }

    /// Checks the footer, and that the next segment follows.
    fn check_end(
        &mut self,
        bytes: &[u8],
        found: &Autopsy,
        next: Option<&SegmentHeader>,
        lost: bool,
    ) -> Expected {
        let mut expected = Expected {
            next_index: found.next_index,
            position: self.header.first_position + self.len,
            previous_sum: 0,
            last_time: found.last_time,
        };
        let Some(sealed_len) = self.sealed_len else { return expected };
        let (footer, sum) = found.footer(&self.header);
        expected.previous_sum = sum;
        expected.position = self.header.first_position + sealed_len;
        let mut wrong = |remedy| {
            let (offset, index) = (found.end as u64, self.header.first_index);
            self.wrong.push(Wrong { offset, index, what: DamageKind::Footer, remedy });
        };
        let follows = found.end as u64 + footer.len() as u64 == sealed_len
            && next.is_none_or(|next| {
                (next.previous_sum, next.first_index) == (sum, found.next_index)
            });
        if !follows {
            wrong(Remedy::NewGeneration);
        } else if bytes.get(found.end..) != Some(footer.as_slice()) && !lost {
            wrong(Remedy::Rewrite);
        }
        expected
    }

    /// The segment as it should be; `None` if that cannot be told after all.
    pub(crate) fn mended(
        &self,
        disk: &dyn Disk,
        hash: Option<HashBody<'_>>,
    ) -> Result<Option<Mended>, RepairError> {
        let before = read_segment(disk, &self.name)?;
        let (mut after, found) = self.read(disk, hash)?;
        let header = self.header.encode();
        if after.len() < header.len() {
            return Ok(None);
        }
        for (at, bytes) in std::iter::once((0, header.to_vec())).chain(found.edits.iter().cloned())
        {
            let Some(place) = after.get_mut(at..at + bytes.len()) else { return Ok(None) };
            place.copy_from_slice(&bytes);
        }
        after.truncate(found.end);
        if self.sealed_len.is_some() {
            after.extend_from_slice(&found.footer(&self.header).0);
        }
        let lost =
            found.records.iter().filter(|known| !known.body && known.head.kind == Kind::Entry);
        let holes = lost.map(|known| known.head).collect();
        Ok(self.holds(&after).then_some(Mended { before, after, holes }))
    }

    /// Whether mended bytes stand up to what opening them checks.
    fn holds(&self, bytes: &[u8]) -> bool {
        if self.sealed_len.is_none() {
            return tail::examine(bytes, &self.header, 0, None).is_ok();
        }
        let Some(trailer) = trailer_of(bytes, &self.header) else { return false };
        let until = usize::try_from(trailer.batches_end).unwrap_or(usize::MAX);
        let batches = bytes.get(HEADER_LEN..until).unwrap_or_default();
        let mut walker = Walker::new(&self.header);
        walker.walk(batches, HEADER_LEN as u64, &mut Vec::new());
        walker.reached().offset == trailer.batches_end
            && self.next_sum.is_none_or(|sum| sum == trailer.sum)
    }
}
