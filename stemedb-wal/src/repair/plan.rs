//! What is there, what is wrong with it, and whether it can be repaired in its place.

use std::{collections::HashSet, ops::Range};

use stemedb_merkle::LogIndex;

use super::{
    HashBody, RepairError, RepairOptions,
    candidates::{self, Candidate},
    salvage::{Context, Known, Remedy, Salvaged, Wrong, salvage},
};
use crate::{
    batch::BatchHeader,
    checksum::Salt,
    error::{Action, Damage, DamageKind},
    files,
    identity::Identity,
    internal::in_memory,
    log::{Origin, Watermark, first_header, handles::SegmentBytes},
    position::Position,
    record::{Head, Kind},
    remote::LogDir,
    scan::{
        Scanner,
        file::SegmentFile,
        judge::{Judge, Verdict},
        offsets_of,
        sectors::Sectors,
    },
    sealed::check_kept,
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
    /// Holes, heals and voids, as they are once all is repaired.
    pub(crate) gaps: Vec<Gap>,
    /// Bodies that are lost, and not yet known to be.
    pub(crate) lost_bodies: Vec<Head>,
}

/// A record that is a body lost, or found again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    /// The number of the segment that it is in.
    pub(crate) segment: usize,
    pub(crate) position: u64,
    pub(crate) kind: Kind,
    pub(crate) head: Head,
}

/// One segment: what it is, and what is wrong with it. Its bytes are read again to be repaired.
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
    pub(crate) remote: bool,
    /// Whether what is wrong can be put right in its place.
    repairable: bool,
}

/// A segment as it was and as it should be.
#[derive(Debug)]
pub(crate) struct RepairedSegment {
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
    pub(crate) holes: Vec<Head>,
}

/// Reads the whole log and makes the plan.
pub(crate) fn make_plan(
    disk: &LogDir,
    identity: &Identity,
    options: &RepairOptions<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Plan, RepairError> {
    // Without any mark it may be empty.
    let marked = options.marks.iter().copied().chain(identity.clean).max().unwrap_or_default();
    let mut plan = Plan { marked, ..Plan::default() };
    let groups = candidates::find(disk, identity, &mut plan.strays)?;
    let headers: Vec<Option<SegmentHeader>> =
        groups.values().map(|group| group.iter().find_map(|candidate| candidate.header)).collect();
    let count = groups.len();
    let mut last_time = 0;
    let mut expected = first_header(&Origin::from(identity));
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
            let name = segment_name(identity.generation, expected.first_index);
            let path = match what {
                DamageKind::Missing => disk.path(&name),
                _ => disk.path(&found.segment.name),
            };
            plan.missing.push(Damage {
                path,
                offset: 0,
                index: LogIndex(expected.first_index),
                what,
            });
            plan.lost = true;
        }
        let mut segment = found.segment;
        for known in &found.salvaged.records {
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
                plan.gaps.push(Gap { segment: n, position, kind, head });
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
    plan.lost |= plan.segments.iter().any(|segment| segment.is_broken() && !segment.repairable);
    Ok(plan)
}

impl Plan {
    /// The log is not shorter than it was.
    fn check_marks(&mut self, disk: &LogDir, identity: &Identity) {
        let (end, marked) = (self.end, self.marked);
        let short = marked.next_index > end.next_index;
        let gone = self.segments.is_empty() && marked.position > Position(0);
        if !(short || gone) {
            return;
        }
        self.lost = true;
        let name = segment_name(identity.generation, 0);
        let (name, from, what) = match self.segments.last() {
            Some(last) => (&last.name, last.header.first_position, DamageKind::Short),
            None => (&name, 0, DamageKind::Missing),
        };
        let (path, offset) = (disk.path(name), end.position - Position(from));
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
            let segment = self.segments.get_mut(gap.segment);
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
        let known = self.end.next_index.max(self.marked.next_index).max(LogIndex(last));
        // Of entries that two segments say they have, both are counted as kept.
        known.get().saturating_sub(self.kept)
    }
}

/// What is known about a segment from those around it.
struct Around<'a> {
    identity: &'a Identity,
    first_index: u64,
    /// What its header should say, but for the salt.
    expected: SegmentHeader,
    next: Option<SegmentHeader>,
    is_last: bool,
    marked: Watermark,
    /// Whether something before it is lost.
    lost: bool,
}

/// A file, and what it is as a segment.
struct Examined {
    segment: SegmentPlan,
    salvaged: Salvaged,
    /// What the header of the next segment should say, but for the salt.
    expected: SegmentHeader,
    end: Watermark,
    /// How it does not follow from the segment before.
    mismatch: Option<DamageKind>,
    lost: bool,
}

impl Around<'_> {
    /// The best of the files that say that they are this segment; the others are strays.
    fn choose(
        &self,
        disk: &LogDir,
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
                let records = &found.salvaged.records;
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
        if self.first_index > self.expected.first_index {
            return Some(DamageKind::Missing);
        }
        (*header != self.header(header.salt)).then_some(DamageKind::Sequence)
    }

    /// The header that it should have.
    fn header(&self, salt: Salt) -> SegmentHeader {
        SegmentHeader { first_index: self.first_index, salt, ..self.expected }
    }

    fn examine(
        &self,
        disk: &LogDir,
        candidate: Candidate,
        hash: Option<HashBody<'_>>,
    ) -> Result<Examined, RepairError> {
        let Sectors { mut bytes, unreadable } = read_segment(disk, &candidate.name)?;
        let header = candidate.header.unwrap_or_else(|| self.header(self.salt_of(&bytes)));
        let next = self.next.as_ref();
        let is_headless = candidate.header.is_none();
        let mut segment = SegmentPlan::new(candidate, header, &bytes);
        segment.next_sum = next.map(|next| next.previous_sum);
        segment.sealed_len = match next {
            Some(next) => next.first_position.checked_sub(header.first_position),
            None => segment.sealed_len.filter(|_| !self.is_last),
        };
        if is_headless {
            let (offset, index, remedy) = (0, self.first_index, Remedy::Rewrite);
            let what = DamageKind::SegmentHeader;
            segment.wrong.push(Wrong { offset, index, what, remedy });
        }
        if self.is_last {
            segment.last(&bytes, self.identity, self.marked);
        }
        segment.pad(&mut bytes);
        if !is_intact(disk, &segment.name)? {
            let (offset, index, remedy) = (0, self.first_index, Remedy::Rewrite);
            segment.wrong.push(Wrong { offset, index, what: DamageKind::Blocks, remedy });
        }
        let found = segment.salvage(&bytes, &unreadable, hash);
        segment.wrong.extend(&found.wrong);
        let mismatch = self.mismatch(&header);
        let lost = self.lost || mismatch.is_some();
        let expected = segment.check_end(&bytes, &found, next, lost);
        let position = segment.header.first_position + found.end as u64;
        let end =
            Watermark { position: Position(position), next_index: LogIndex(found.next_index) };
        if segment.is_broken() {
            let after = (!segment.is_lost()).then(|| segment.edited(bytes, &found));
            segment.repairable = after.flatten().is_some();
        }
        Ok(Examined { segment, salvaged: found, expected, end, mismatch, lost })
    }

    /// The salt of a segment whose header is damaged: the one that its checksums are made with.
    fn salt_of(&self, bytes: &[u8]) -> Salt {
        let Identity { salt_seed, generation, .. } = self.identity;
        let derived = segment_salt(salt_seed, *generation, self.first_index);
        let stored = bytes.get(56..64).and_then(|bytes| bytes.first_chunk::<8>());
        let position = self.expected.first_position;
        let fits = |salt: &Salt| {
            let is_batch =
                |at| BatchHeader::parse(at, *salt, position + HEADER_LEN as u64).is_some();
            let trailer = bytes.split_last_chunk::<TRAILER_LEN>();
            bytes.get(HEADER_LEN..).is_some_and(is_batch)
                || trailer.is_some_and(|(before, trailer)| {
                    Trailer::parse(trailer, *salt, position + before.len() as u64).is_some()
                })
        };
        let stored = stored.map(|bytes| Salt(u64::from_le_bytes(*bytes)));
        [Some(derived), stored].into_iter().flatten().find(fits).unwrap_or(derived)
    }

    /// A segment that is in an archive, by what is kept of it here: that is whole, or somebody has
    /// to put it back.
    fn kept(&self, disk: &LogDir, candidate: Candidate) -> Result<Examined, RepairError> {
        let Identity { salt_seed, generation, .. } = self.identity;
        let salt = segment_salt(salt_seed, *generation, self.first_index);
        let header = candidate.header.unwrap_or_else(|| self.header(salt));
        let name = candidate.name.as_str();
        let file = open_segment(disk, name)?;
        let file = SegmentFile { disk: &**disk, name, file: &file };
        let damage = file.stub_damage(header.first_index);
        let kept = file.read_kept(candidate.len)?;
        let bytes = kept.map_err(RepairError::Stub)?;
        let proper = segment_name(header.generation, header.first_index) == name;
        let kept = check_kept(&header, &bytes).filter(|_| proper);
        let kept = kept.ok_or(RepairError::Stub(damage))?;
        if self.is_last {
            let path = disk.path(&segment_name(header.generation, kept.next_index.get()));
            return Err(RepairError::Behind { path });
        }
        let follows = self.next.is_none_or(|next| {
            (next.first_index, next.previous_sum) == (kept.next_index.get(), kept.trailer_sum)
        });
        let mut segment = SegmentPlan::new(candidate, header, &bytes);
        segment.next_sum = Some(kept.trailer_sum);
        let records = kept.placed.iter().map(|placed| {
            let offset = in_memory(placed.position.get() - header.first_position);
            let head = placed.head(0);
            Known { offset, head, body: placed.len == 0 && placed.kind.has_body() }
        });
        let salvaged = Salvaged { records: records.collect(), ..Salvaged::default() };
        let expected = SegmentHeader {
            first_position: header.first_position + segment.len,
            ..kept.next_header(salt_seed)
        };
        let end =
            Watermark { position: Position(expected.first_position), next_index: kept.next_index };
        let (mismatch, lost) = (self.mismatch(&header), !follows);
        Ok(Examined { segment, salvaged, expected, end, mismatch, lost })
    }
}

/// Opens a segment.
pub(super) fn open_segment(disk: &LogDir, name: &str) -> Result<SegmentBytes, RepairError> {
    let opened = disk.open_segment(name);
    let opened = opened.map_err(|source| files::failed(&**disk, Action::Open, name, source))?;
    Ok(SegmentBytes::Open(opened))
}

/// Whether all is what was written that no read of the segment shows.
fn is_intact(disk: &LogDir, name: &str) -> Result<bool, RepairError> {
    let file = open_segment(disk, name)?;
    Ok(SegmentFile { disk: &**disk, name, file: &file }.is_intact()?)
}

/// All bytes of a segment, with what cannot be read filled in.
pub(crate) fn read_segment(disk: &LogDir, name: &str) -> Result<Sectors, RepairError> {
    let file = open_segment(disk, name)?;
    let file = SegmentFile { disk: &**disk, name, file: &file };
    Ok(file.read_sectors(file.len()?)?)
}

impl SegmentPlan {
    /// Of a sealed segment with nothing wrong, whose file is `bytes`.
    fn new(candidate: Candidate, header: SegmentHeader, bytes: &[u8]) -> Self {
        let Candidate { name, len, remote, .. } = candidate;
        let trailer = Trailer::at_end(bytes, &header, bytes.len() as u64);
        Self {
            name,
            header,
            wrong: Vec::new(),
            len,
            batches_end: trailer.map(|trailer| trailer.batches_end),
            sealed_len: Some(len),
            marked: u64::MAX,
            closed: None,
            marked_len: 0,
            next_sum: None,
            needless: Vec::new(),
            remote,
            repairable: true,
        }
    }

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
        self.closed = identity.clean;
        // The mark may be of a segment before this one.
        self.marked_len = marked.position.get().saturating_sub(self.header.first_position);
        let header = self.header;
        let judge = Judge { bytes, header: &header, marked: marked.position.get() };
        self.marked = marked.position.get().max(judge.marked_behind(HEADER_LEN));
        let scanned = Scanner::new(&header).all(bytes);
        let offsets: Vec<u32> = offsets_of(&header, &scanned.placed).collect();
        let verdict = judge.judge(&scanned.reached, &offsets);
        self.batches_end = (verdict != Verdict::Damaged).then_some(scanned.reached.offset);
    }

    /// The bytes of the segment, and what is known of them.
    pub(crate) fn read(
        &self,
        disk: &LogDir,
        hash: Option<HashBody<'_>>,
    ) -> Result<(Vec<u8>, Salvaged), RepairError> {
        let Sectors { mut bytes, unreadable } = read_segment(disk, &self.name)?;
        self.pad(&mut bytes);
        let found = self.salvage(&bytes, &unreadable, hash);
        if self.remote && !found.wrong.is_empty() {
            return Err(RepairError::Archive { path: disk.path(&self.name) });
        }
        Ok((bytes, found))
    }

    /// Takes zeros for what is cut off: then what is lost of the last records is only their end.
    fn pad(&self, bytes: &mut Vec<u8>) {
        let len = self.sealed_len.unwrap_or(self.marked_len).min(SEGMENT_LEN_MAX);
        let len = in_memory(len);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
    }

    fn salvage(
        &self,
        bytes: &[u8],
        unreadable: &[Range<u64>],
        hash: Option<HashBody<'_>>,
    ) -> Salvaged {
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
        salvage(bytes, &context)
    }

    /// Checks the footer, and that the next segment follows.
    fn check_end(
        &mut self,
        bytes: &[u8],
        found: &Salvaged,
        next: Option<&SegmentHeader>,
        lost: bool,
    ) -> SegmentHeader {
        let mut expected = SegmentHeader {
            first_index: found.next_index,
            first_position: self.header.first_position + self.len,
            previous_sum: 0,
            time_before: found.last_time,
            ..self.header
        };
        let Some(sealed_len) = self.sealed_len else { return expected };
        let (footer, sum) = found.footer(&self.header);
        expected.previous_sum = sum;
        expected.first_position = self.header.first_position + sealed_len;
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

    /// The segment as it should be; `None` if the disk gives other bytes than for the plan.
    pub(crate) fn repaired(
        &self,
        disk: &LogDir,
        hash: Option<HashBody<'_>>,
    ) -> Result<Option<RepairedSegment>, RepairError> {
        let Sectors { bytes: before, unreadable } = read_segment(disk, &self.name)?;
        let mut after = before.clone();
        self.pad(&mut after);
        let found = self.salvage(&after, &unreadable, hash);
        let lost = found.records.iter().filter(|known| {
            let needless = self.needless.contains(&(known.offset as u64));
            !known.body && known.head.kind.has_body() && !needless
        });
        let holes = lost.map(|known| known.head).collect();
        let after = self.edited(after, &found);
        let file = open_segment(disk, &self.name)?;
        let file = SegmentFile { disk: &**disk, name: &self.name, file: &file };
        // What is kept of a compressed one is its file: a damaged block is lost otherwise.
        let before = file.compressed_bytes()?.unwrap_or(before);
        Ok(after.map(|after| RepairedSegment { before, after, holes }))
    }

    /// The bytes with all that has to be written; `None` if they do not stand up to what opening
    /// them checks.
    fn edited(&self, mut bytes: Vec<u8>, found: &Salvaged) -> Option<Vec<u8>> {
        bytes.get_mut(..HEADER_LEN)?.copy_from_slice(&self.header.encode());
        for (at, edit) in &found.edits {
            bytes.get_mut(*at..at + edit.len())?.copy_from_slice(edit);
        }
        bytes.truncate(found.end);
        if self.sealed_len.is_some() {
            bytes.extend_from_slice(&found.footer(&self.header).0);
        }
        self.holds(&bytes).then_some(bytes)
    }

    /// Whether repaired bytes stand up to what opening them checks.
    fn holds(&self, bytes: &[u8]) -> bool {
        let scanned = Scanner::new(&self.header).all(bytes);
        if self.sealed_len.is_none() {
            let offsets: Vec<u32> = offsets_of(&self.header, &scanned.placed).collect();
            let judge = Judge { bytes, header: &self.header, marked: 0 };
            return judge.judge(&scanned.reached, &offsets) != Verdict::Damaged;
        }
        Trailer::at_end(bytes, &self.header, bytes.len() as u64).is_some_and(|trailer| {
            scanned.reached.offset == trailer.batches_end
                && self.next_sum.is_none_or(|sum| sum == trailer.sum)
        })
    }
}
