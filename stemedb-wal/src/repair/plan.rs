//! What is there, what is wrong with it, and whether it can be mended in its place.

use std::{collections::HashSet, ops::Range};

use super::{
    HashBody, RepairError, RepairOptions,
    autopsy::{self, Autopsy, Context, Remedy, Wrong},
    candidates::{self, Candidate},
    verify::{Kept, trailer_of, walk_kept},
};
use crate::{
    batch::BatchHeader,
    checksum::Salt,
    disk::{Disk, stub_name},
    error::{Action, Damage, DamageKind},
    identity::Identity,
    log::{Watermark, further},
    record::{Head, Kind},
    recovery::{
        sectors::{Sectors, read_sectors},
        survey::{failed, read_kept},
        tail::{self, marked_behind},
        walk::Walker,
    },
    segment::{
        HEADER_LEN, SEGMENT_LEN_MAX, SegmentHeader, TRAILER_LEN, Trailer, segment_name,
        segment_salt,
    },
};

/// What there is of a log.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) segments: Vec<SegmentPlan>,
    /// Files under names of segments that are none of this log's.
    pub(crate) strays: Vec<String>,
    /// Segments that should be there.
    pub(crate) missing: Vec<Damage>,
    /// Whether entries are lost.
    pub(crate) lost: bool,
    /// Where the log ends.
    pub(crate) end: Watermark,
    /// Where it should end at least.
    pub(crate) marked: Watermark,
    /// How many entries are known.
    pub(crate) kept: u64,
    /// Holes, heals and voids, as they are once all is mended.
    pub(crate) gaps: Vec<Gap>,
    /// Bodies that are lost, and not yet known to be.
    pub(crate) lost_bodies: Vec<Head>,
}

/// A record that is a body lost, or found again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    pub(crate) position: u64,
    pub(crate) kind: Kind,
    pub(crate) head: Head,
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
    closed: Option<Watermark>,
    /// How long the last segment is known to have been.
    marked_len: u64,
    next_sum: Option<u32>,
    /// Offsets of heals of entries whose bodies are there.
    needless: Vec<u64>,
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

/// Reads the whole log and makes the plan.
pub(crate) fn make_plan(
    disk: &dyn Disk,
    identity: &Identity,
    options: &RepairOptions<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Plan, RepairError> {
    let clean = identity.clean.map(Watermark::from);
    let marked = options.marks.iter().fold(clean, |marked, mark| further(marked, Some(*mark)));
    let mut plan = Plan { marked: marked.unwrap_or_default(), ..Plan::default() };
    let groups = candidates::find(disk, identity, &mut plan.strays)?;
    let headers: Vec<Option<SegmentHeader>> =
        groups.values().map(|group| group.iter().find_map(|candidate| candidate.header)).collect();
    let count = groups.len();
    let mut last_time = 0;
    let mut expected = Expected::first();
    let mut read = 0;
    for (n, (first_index, group)) in groups.into_iter().enumerate() {
        let around = Around {
            identity,
            first_index,
            expected,
            next: headers.get(n + 1).copied().flatten(),
            is_last: n + 1 == count,
            marked: plan.marked,
            lost: plan.lost,
        };
        let found = around.choose(disk, group, options.hash, &mut plan.strays, &mut read)?;
        if let Some(what) = found.mismatch {
            let name = segment_name(identity.generation, expected.next_index);
            let path = match what {
                DamageKind::Missing => disk.path(&name),
                _ => disk.path(&found.segment.name),
            };
            plan.missing.push(Damage { path, offset: 0, index: expected.next_index, what });
            plan.lost = true;
        }
        let mut segment = found.segment;
        for known in &found.autopsy.records {
            let Head { kind, index, time, .. } = known.head;
            if kind.takes_index() && time <= last_time {
                // Two segments that cannot both be right; the log's order is by time.
                let (offset, what) = (known.offset as u64, DamageKind::Sequence);
                segment.wrong.push(Wrong { offset, index, what, remedy: Remedy::NewGeneration });
            } else if kind.takes_index() {
                last_time = time;
                plan.kept += 1;
            }
            let head = known.head;
            let kind = match head.kind {
                Kind::Entry if !known.body && !segment.remote => Kind::Hole,
                Kind::Heal if !known.body && !segment.remote => Kind::Void,
                kind => kind,
            };
            if kind != head.kind {
                plan.lost_bodies.push(head);
            }
            if kind != Kind::Entry {
                let position = segment.header.first_position + known.offset as u64;
                plan.gaps.push(Gap { position, kind, head });
            }
        }
        plan.lost |= found.lost || segment.is_lost();
        expected = found.expected;
        plan.end = found.end;
        plan.segments.push(segment);
        progress(read);
    }
    plan.check_marks(disk, identity);
    plan.find_needless_heals();
    let healed = plan.gaps.iter().filter(|gap| gap.kind == Kind::Heal);
    let healed: HashSet<_> = healed.map(|gap| gap.head.id).collect();
    plan.lost_bodies.retain(|head| !healed.contains(&head.id));
    Ok(plan)
}

impl Plan {
    /// The log is not shorter than it was.
    fn check_marks(&mut self, disk: &dyn Disk, identity: &Identity) {
        let (end, marked) = (self.end, self.marked);
        let short = marked.next_index > end.next_index;
        let gone = self.segments.is_empty() && marked.position > 0;
        if !(short || gone) {
            return;
        }
        self.lost = true;
        let name = segment_name(identity.generation, 0);
        let (name, from, what) = match self.segments.last() {
            Some(last) => (&last.name, last.header.first_position, DamageKind::Short),
            None => (&name, 0, DamageKind::Missing),
        };
        let (path, offset) = (disk.path(name), end.position.saturating_sub(from));
        self.missing.push(Damage { path, offset, index: end.next_index, what });
    }

    /// Finds heals of entries that are no holes: the segment with the body was put back since. The
    /// log must not hold an id twice, so they are made voids.
    fn find_needless_heals(&mut self) {
        let mut holes = HashSet::new();
        for gap in &mut self.gaps {
            let head = gap.head;
            if gap.kind == Kind::Hole {
                holes.insert(head.id);
            }
            if gap.kind != Kind::Heal || holes.remove(&head.id) {
                continue;
            }
            let behind = self
                .segments
                .partition_point(|segment| segment.header.first_position <= gap.position);
            let segment = behind.checked_sub(1).and_then(|at| self.segments.get_mut(at));
            let Some(segment) = segment.filter(|segment| !segment.remote) else { continue };
            let offset = gap.position - segment.header.first_position;
            let (index, what) = (head.index, DamageKind::Sequence);
            segment.needless.push(offset);
            segment.wrong.push(Wrong { offset, index, what, remedy: Remedy::Rewrite });
            gap.kind = Kind::Void;
        }
    }

    /// How many entries are lost at least.
    pub(crate) fn lost_entries(&self) -> u64 {
        let last = self.segments.last().map_or(0, |last| last.header.first_index);
        let known = self.end.next_index.max(self.marked.next_index).max(last);
        known.saturating_sub(self.kept)
    }
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

    /// The header that a segment should have, but for the salt.
    fn header(&self, identity: &Identity, first_index: u64, salt: Salt) -> SegmentHeader {
        SegmentHeader {
            store_id: identity.store_id,
            generation: identity.generation,
            previous_sum: self.previous_sum,
            first_index,
            first_position: self.position,
            salt,
            time_before: self.last_time,
        }
    }
}

/// What is known about a segment from those around it.
struct Around<'a> {
    identity: &'a Identity,
    first_index: u64,
    expected: Expected,
    next: Option<SegmentHeader>,
    is_last: bool,
    marked: Watermark,
    /// Whether something before it is lost.
    lost: bool,
}

/// A file, and what it is as a segment.
struct Examined {
    segment: SegmentPlan,
    autopsy: Autopsy,
    expected: Expected,
    end: Watermark,
    /// How it does not follow from the segment before.
    mismatch: Option<DamageKind>,
    lost: bool,
}

impl Around<'_> {
    /// The best of the files that say that they are this segment; the others are strays.
    fn choose(
        &self,
        disk: &dyn Disk,
        group: Vec<Candidate>,
        hash: Option<HashBody<'_>>,
        strays: &mut Vec<String>,
        read: &mut u64,
    ) -> Result<Examined, RepairError> {
        let proper = segment_name(self.identity.generation, self.first_index);
        let mut best: Option<Examined> = None;
        for candidate in group {
            let found = if candidate.remote {
                self.kept(disk, candidate)?
            } else {
                self.examine(disk, candidate, hash)?
            };
            *read += found.segment.len;
            let value = |found: &Examined| {
                let records = &found.autopsy.records;
                let bodies = records.iter().filter(|known| known.body).count();
                let fits = self.fits(found);
                // Two that are whole and sealed hold the same entries. Of the last segment the
                // longer one may be that of a copy that went its own way.
                let first = if fits && self.is_last { 0 } else { bodies };
                (fits, first, found.segment.name == proper, bodies, records.len())
            };
            best = Some(match best {
                Some(best) if value(&best) >= value(&found) => {
                    strays.push(found.segment.name);
                    best
                }
                Some(best) => {
                    strays.push(best.segment.name);
                    found
                }
                None => found,
            });
        }
        // A group has at least one.
        best.ok_or(RepairError::Exhausted)
    }

    /// Whether a segment is whole, and belongs here.
    fn fits(&self, found: &Examined) -> bool {
        found.mismatch.is_none()
            && found.segment.wrong.is_empty()
            && (!self.is_last || found.end.next_index >= self.marked.next_index)
    }

    /// How a header does not follow from the segment before.
    fn mismatch(&self, header: &SegmentHeader) -> Option<DamageKind> {
        if self.first_index > self.expected.next_index {
            return Some(DamageKind::Missing);
        }
        let follows = self.expected.header(self.identity, self.first_index, header.salt);
        (*header != follows).then_some(DamageKind::Sequence)
    }

    fn examine(
        &self,
        disk: &dyn Disk,
        candidate: Candidate,
        hash: Option<HashBody<'_>>,
    ) -> Result<Examined, RepairError> {
        let Sectors { mut bytes, unreadable } = read_segment(disk, &candidate.name)?;
        let header = candidate.header.unwrap_or_else(|| {
            let salt = self.salt_of(&bytes);
            self.expected.header(self.identity, self.first_index, salt)
        });
        let next = self.next.as_ref();
        let mut segment = SegmentPlan {
            header,
            wrong: Vec::new(),
            len: candidate.len,
            batches_end: trailer_of(&bytes, &header).map(|trailer| trailer.batches_end),
            sealed_len: match next {
                Some(next) => next.first_position.checked_sub(header.first_position),
                None if !self.is_last => Some(candidate.len),
                None => None,
            },
            marked: u64::MAX,
            closed: None,
            marked_len: 0,
            next_sum: next.map(|next| next.previous_sum),
            needless: Vec::new(),
            name: candidate.name,
            remote: false,
        };
        if candidate.header.is_none() {
            let (offset, index, remedy) = (0, self.first_index, Remedy::Rewrite);
            let what = DamageKind::SegmentHeader;
            segment.wrong.push(Wrong { offset, index, what, remedy });
        }
        if self.is_last {
            segment.last(&bytes, self.identity, self.marked);
        }
        segment.pad(&mut bytes);
        let found = segment.examine(&bytes, &unreadable, hash);
        segment.wrong.extend(&found.wrong);
        let mismatch = self.mismatch(&header);
        let lost = self.lost || mismatch.is_some();
        let expected = segment.check_end(&bytes, &found, next, lost);
        let position = segment.header.first_position + found.end as u64;
        let end = Watermark { position, next_index: found.next_index };
        Ok(Examined { segment, autopsy: found, expected, end, mismatch, lost })
    }

    /// The salt of a segment whose header is damaged: the one that its checksums are made with.
    fn salt_of(&self, bytes: &[u8]) -> Salt {
        let Identity { salt_seed, generation, .. } = self.identity;
        let derived = segment_salt(salt_seed, *generation, self.first_index);
        let stored = bytes.get(56..64).and_then(|bytes| bytes.first_chunk::<8>());
        let position = self.expected.position;
        let fits = |salt: &Salt| {
            let batch = bytes.get(HEADER_LEN..).unwrap_or_default();
            let trailer_at = bytes.len().saturating_sub(TRAILER_LEN);
            let trailer = bytes.get(trailer_at..).unwrap_or_default();
            BatchHeader::parse(batch, *salt, position + HEADER_LEN as u64).is_some()
                || Trailer::parse(trailer, *salt, position + trailer_at as u64).is_some()
        };
        let stored = stored.map(|bytes| Salt(u64::from_le_bytes(*bytes)));
        [Some(derived), stored].into_iter().flatten().find(fits).unwrap_or(derived)
    }

    /// A segment that is in an archive, by what is kept of it here: that is whole, or somebody has
    /// to put it back.
    fn kept(&self, disk: &dyn Disk, candidate: Candidate) -> Result<Examined, RepairError> {
        let Candidate { name, len, header, .. } = candidate;
        let salt =
            segment_salt(&self.identity.salt_seed, self.identity.generation, self.first_index);
        let header =
            header.unwrap_or_else(|| self.expected.header(self.identity, self.first_index, salt));
        let file = disk.open(&name).map_err(|source| failed(disk, Action::Open, &name, source))?;
        let stub = stub_name(&name).unwrap_or_else(|| name.clone());
        let (path, index) = (disk.path(&stub), header.first_index);
        let damage = Damage { path, offset: 0, index, what: DamageKind::Stub };
        let bytes = read_kept(disk, &name, &*file, len)?.map_err(RepairError::Stub)?;
        let proper = segment_name(header.generation, header.first_index) == name;
        let kept = walk_kept(&header, &bytes).filter(|_| proper);
        let Kept { next_index, last_time, trailer_sum } = kept.ok_or(RepairError::Stub(damage))?;
        if self.is_last {
            let path = disk.path(&segment_name(header.generation, next_index));
            return Err(RepairError::Behind { path });
        }
        let follows = self
            .next
            .is_none_or(|next| (next.first_index, next.previous_sum) == (next_index, trailer_sum));
        let segment = SegmentPlan {
            header,
            wrong: Vec::new(),
            len,
            batches_end: trailer_of(&bytes, &header).map(|trailer| trailer.batches_end),
            sealed_len: Some(len),
            marked: u64::MAX,
            closed: None,
            marked_len: 0,
            next_sum: Some(trailer_sum),
            needless: Vec::new(),
            name,
            remote: true,
        };
        let autopsy = segment.examine(&bytes, &[], None);
        let position = header.first_position + len;
        Ok(Examined {
            segment,
            autopsy,
            expected: Expected { next_index, position, previous_sum: trailer_sum, last_time },
            end: Watermark { position, next_index },
            mismatch: self.mismatch(&header),
            lost: !follows,
        })
    }
}

/// All bytes of a segment, with what cannot be read filled in.
pub(crate) fn read_segment(disk: &dyn Disk, name: &str) -> Result<Sectors, RepairError> {
    let file = disk.open(name).map_err(|source| failed(disk, Action::Open, name, source))?;
    let len = file.len().map_err(|source| failed(disk, Action::Measure, name, source))?;
    Ok(read_sectors(disk, name, &*file, len)?)
}

impl SegmentPlan {
    /// The name that the segment should have.
    pub(crate) fn proper_name(&self) -> String {
        segment_name(self.header.generation, self.header.first_index)
    }

    /// Whether its bytes are not what they should be.
    pub(crate) fn is_broken(&self) -> bool {
        !self.wrong.is_empty()
    }

    /// Whether some entry is not known any more.
    fn is_lost(&self) -> bool {
        self.wrong.iter().any(|wrong| wrong.remedy == Remedy::NewGeneration)
    }

    /// What is known about the last segment.
    fn last(&mut self, bytes: &[u8], identity: &Identity, marked: Watermark) {
        self.closed = identity.clean.map(Watermark::from);
        self.marked_len = marked.position.saturating_sub(self.header.first_position);
        self.marked = marked.position.max(marked_behind(bytes, HEADER_LEN, &self.header));
        let tail = tail::examine(bytes, &self.header, marked.position, None);
        self.batches_end = tail.ok().map(|tail| tail.reached.offset);
    }

    /// The bytes of the segment, and what can be told of them.
    pub(crate) fn read(
        &self,
        disk: &dyn Disk,
        hash: Option<HashBody<'_>>,
    ) -> Result<(Vec<u8>, Autopsy), RepairError> {
        let Sectors { mut bytes, unreadable } = read_segment(disk, &self.name)?;
        self.pad(&mut bytes);
        let found = self.examine(&bytes, &unreadable, hash);
        if self.remote && !found.wrong.is_empty() {
            return Err(RepairError::Archive { path: disk.path(&self.name) });
        }
        Ok((bytes, found))
    }

    /// Takes zeros for what is cut off: then what is lost of the last records is only their end.
    fn pad(&self, bytes: &mut Vec<u8>) {
        let len = self.sealed_len.unwrap_or(self.marked_len).min(SEGMENT_LEN_MAX);
        let len = usize::try_from(len).unwrap_or(0);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
    }

    fn examine(
        &self,
        bytes: &[u8],
        unreadable: &[Range<u64>],
        hash: Option<HashBody<'_>>,
    ) -> Autopsy {
        let context = Context {
            header: &self.header,
            batches_end: self.batches_end,
            sealed_len: self.sealed_len,
            marked: self.marked,
            closed: self.closed,
            needless: &self.needless,
            unreadable,
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
        let before = read_segment(disk, &self.name)?.bytes;
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
        let lost = found.records.iter().filter(|known| {
            let needless = self.needless.contains(&(known.offset as u64));
            !known.body && known.head.kind.has_body() && !needless
        });
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
