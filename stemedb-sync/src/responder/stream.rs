//! An answer of bodies, made part by part.

use core::ops::Range;
use std::sync::Arc;

use stemedb_merkle::Hash;

use super::open::Open;
use crate::{
    codec::bodies,
    keys::SessionKey,
    limits::Limits,
    memory::{Exhausted, MemoryBudget, Reservation},
    message::{Answer, Bodies, BodiesEnd, Echo, Refusal, Response},
    replica::Source,
};

/// The parts of an answer of bodies. Each is read from the store when it is asked for.
#[derive(Debug)]
pub struct BodyStream {
    echo: Echo,
    key: SessionKey,
    wanted: Wanted,
    part_len_max: usize,
    answer_len_aim: usize,
    /// How many are dealt with.
    dealt: u64,
    /// Bytes made, those given out included.
    made: usize,
    /// Bytes made, of which the first `given` are given out.
    ready: Vec<u8>,
    given: usize,
    part: u32,
    ended: bool,
    held: Reservation,
    /// Bytes that are held whatever is read.
    parts_len: usize,
}

#[derive(Debug)]
enum Wanted {
    Ids(WantedIds),
    Entries(Range<u64>),
}

/// Ids that a request names.
#[derive(Debug)]
pub(super) struct WantedIds {
    ids: Arc<[Hash]>,
    range: Range<usize>,
    /// Of ids that are in no list of the session.
    _held: Option<Reservation>,
}

impl WantedIds {
    /// A stretch of a list that the session keeps.
    pub(super) fn listed(ids: Arc<[Hash]>, range: Range<usize>) -> Self {
        Self { ids, range, _held: None }
    }

    /// Ids that the request itself has.
    pub(super) fn named(ids: &[Hash], memory: &MemoryBudget) -> Result<Self, Exhausted> {
        let held = memory.reserve(size_of_val(ids))?;
        Ok(Self { ids: ids.into(), range: 0..ids.len(), _held: Some(held) })
    }

    pub(super) fn as_slice(&self) -> &[Hash] {
        self.ids.get(self.range.clone()).unwrap_or_default()
    }
}

/// Parts of an answer that are made and not taken in by the initiator yet.
const PARTS_AHEAD: usize = 3;

impl BodyStream {
    pub(super) fn of_ids(
        open: &Open,
        echo: Echo,
        ids: WantedIds,
        limits: &Limits,
    ) -> Result<Self, Exhausted> {
        Self::new(open, echo, Wanted::Ids(ids), limits)
    }

    pub(super) fn of_entries(
        open: &Open,
        echo: Echo,
        entries: Range<u64>,
        limits: &Limits,
    ) -> Result<Self, Exhausted> {
        Self::new(open, echo, Wanted::Entries(entries), limits)
    }

    fn new(open: &Open, echo: Echo, wanted: Wanted, limits: &Limits) -> Result<Self, Exhausted> {
        let part_len_max = limits.part_len_max.max(1);
        let parts_len = part_len_max.saturating_mul(PARTS_AHEAD);
        Ok(Self {
            held: open.memory.reserve(parts_len)?,
            key: open.key.clone(),
            parts_len,
            echo,
            wanted,
            part_len_max,
            answer_len_aim: limits.answer_len_aim,
            dealt: 0,
            made: 0,
            ready: Vec::new(),
            given: 0,
            part: 0,
            ended: false,
        })
    }

    /// The next part, of [`Limits::part_len_max`] bytes or fewer; `None` behind the last, or behind
    /// a refusal, which is that the sessions of the responder hold as much memory as they may.
    ///
    /// Bodies that can't be read are left out: the other side finds that they are missing. Holds at
    /// most one body beside the part.
    pub fn next(&mut self, source: &impl Source) -> Option<Result<Response, Refusal>> {
        if self.ended {
            return None;
        }
        while self.rest() < self.part_len_max && !self.is_dealt() {
            self.read(source);
            let held = self.parts_len.saturating_add(self.ready.capacity());
            if let Err(exhausted) = self.held.resize(held) {
                (self.ready, self.given, self.ended) = (Vec::new(), 0, true);
                return Some(Err(exhausted.into()));
            }
        }
        let bytes = self.cut();
        self.ended = self.rest() == 0 && self.is_dealt();
        let end = self.ended.then_some(BodiesEnd { dealt: self.dealt });
        let part = self.part;
        self.part = part.saturating_add(1);
        let answer = Answer::Bodies(Bodies { part, bytes, end });
        Some(Ok(self.key.seal_response(Response { echo: self.echo, answer })))
    }

    /// How many bytes are ready to be given out.
    fn rest(&self) -> usize {
        self.ready.len() - self.given
    }

    /// Takes the next part off what is ready.
    fn cut(&mut self) -> Vec<u8> {
        let len = self.rest().min(self.part_len_max);
        if self.given == 0 && self.rest() <= 2 * len {
            // Little is left over most often, and is quicker to copy than the part.
            let over = self.ready.split_off(len);
            return core::mem::replace(&mut self.ready, over);
        }
        let end = self.given + len;
        let bytes = self.ready.get(self.given..end).unwrap_or_default().to_vec();
        self.given = end;
        bytes
    }

    /// Whether nothing more is read: all are dealt with, or enough for one answer.
    fn is_dealt(&self) -> bool {
        let all = match &self.wanted {
            Wanted::Ids(ids) => ids.as_slice().len() as u64,
            Wanted::Entries(entries) => entries.end.saturating_sub(entries.start),
        };
        self.dealt >= all || self.made >= self.answer_len_aim
    }

    /// Reads as many bodies as make up a part with what is left over, or at least one.
    fn read(&mut self, source: &impl Source) {
        self.ready.drain(..self.given);
        self.given = 0;
        // What an answer may have in it yet, as far as that is less than a part.
        let left = self.answer_len_aim.saturating_sub(self.made);
        let aim = left.min(self.part_len_max - self.ready.len());
        let read = match &self.wanted {
            Wanted::Ids(ids) => {
                let from = usize::try_from(self.dealt).unwrap_or(usize::MAX);
                source.bodies(ids.as_slice().get(from..).unwrap_or_default(), aim)
            }
            Wanted::Entries(entries) => {
                source.entries(entries.start.saturating_add(self.dealt)..entries.end, aim)
            }
        };
        // A source that reads nothing would be asked for ever.
        self.dealt += read.len().max(1) as u64;
        let before = self.ready.len();
        self.ready.reserve(self.part_len_max);
        for body in read.iter().flatten() {
            bodies::write(body, &mut self.ready);
        }
        self.made += self.ready.len() - before;
    }
}
