//! Answers of several parts, each made when it is asked for.

use core::ops::Range;
use std::sync::Arc;

use stemedb_merkle::Hash;

use super::open::Open;
use crate::{
    codec::{
        bodies::{self, AbsentReason},
        ids,
    },
    internal::internal_error,
    keys::SessionKey,
    limits::Limits,
    memory::{Exhausted, Reservation},
    message::{Answer, Bodies, BodiesEnd, Echo, Refusal, Response, Symbols},
    replica::Source,
    symbols::{self, FIRST_FRAME},
};

/// The parts of an answer.
#[derive(Debug)]
pub enum AnswerStream {
    /// Bodies.
    Bodies(BodyStream),
    /// Coded symbols, behind a welcome or not.
    Symbols(Box<SymbolStream>),
}

impl AnswerStream {
    /// The next part; `None` behind the last, or behind a refusal.
    pub fn next(&mut self, source: &impl Source) -> Option<Result<Response, Refusal>> {
        match self {
            Self::Bodies(bodies) => bodies.next(source),
            Self::Symbols(symbols) => symbols.next(),
        }
    }
}

/// Symbols of a part at most. It has an eighth of those before it, or [`FIRST_FRAME`], so that an
/// initiator that has peeled has hardly more under way in vain.
const PART_SYMBOLS_MAX: u32 = 8_192;

/// The parts of an answer of coded symbols. Those beyond the ones that a store keeps are made when
/// they are asked for.
#[derive(Debug)]
pub struct SymbolStream {
    welcome: Option<Response>,
    open: Arc<Open>,
    echo: Echo,
    rest: Range<u32>,
    symbols_max: u32,
    part_max: u32,
    /// Whether the initiator asked for something else, and did not count on symbols.
    unasked: bool,
    ended: bool,
    _held: Reservation,
}

impl SymbolStream {
    pub(super) fn new(
        welcome: Option<Response>,
        open: Arc<Open>,
        echo: Echo,
        rest: Range<u32>,
        limits: &Limits,
    ) -> Result<Self, Exhausted> {
        let fit = u32::try_from(limits.message_len_max / symbols::ENCODED_LEN_MAX);
        let part_max = fit.unwrap_or(u32::MAX).clamp(1, PART_SYMBOLS_MAX);
        let part_len = rest.len().min(part_max as usize);
        let held = open.memory.reserve(part_len * symbols::ENCODED_LEN_MAX * PARTS_AHEAD)?;
        let symbols_max = limits.symbols_max;
        let unasked = welcome.is_some();
        let ended = false;
        Ok(Self { welcome, open, echo, rest, symbols_max, part_max, unasked, ended, _held: held })
    }

    fn next(&mut self) -> Option<Result<Response, Refusal>> {
        if let Some(welcome) = self.welcome.take() {
            return Some(Ok(welcome));
        }
        if self.ended || self.rest.is_empty() {
            return None;
        }
        let from = self.rest.start;
        let count = (from / 8).max(FIRST_FRAME).min(self.part_max);
        let end = from.saturating_add(count).min(self.rest.end);
        let symbols = match self.open.symbols(from..end, self.rest.end, self.symbols_max) {
            Ok(symbols) => symbols,
            Err(refusal) => {
                self.ended = true;
                return Some(Err(refusal)).filter(|_| !self.unasked);
            }
        };
        self.rest.start = end;
        let answer = Answer::Symbols(Symbols { from, symbols, last: self.rest.is_empty() });
        Some(Ok(self.open.key.seal_response(Response { echo: self.echo, answer })))
    }
}

/// The parts of an answer of bodies. Each is read from the store when it is asked for.
#[derive(Debug)]
pub struct BodyStream {
    echo: Echo,
    key: SessionKey,
    wanted: Wanted,
    part_len_max: usize,
    answer_len_aim: usize,
    /// How many are processed.
    processed: u64,
    /// Bytes made, those given out included.
    made: usize,
    /// Bytes made, of which the first `given` are given out.
    ready: Vec<u8>,
    given: usize,
    part: u32,
    ended: bool,
    held: Reservation,
}

#[derive(Debug)]
enum Wanted {
    Ids(WantedIds),
    Entries(Range<u64>),
}

/// Ids that a request asks for.
#[derive(Debug)]
pub(super) struct WantedIds {
    ids: Box<[Hash]>,
    by_prefix: bool,
    _held: Reservation,
}

impl WantedIds {
    /// Ids that a request names, or those that begin with the prefixes that it names.
    pub(super) fn new(ids: Box<[Hash]>, by_prefix: bool, held: Reservation) -> Self {
        Self { ids, by_prefix, _held: held }
    }

    pub(super) fn as_slice(&self) -> &[Hash] {
        &self.ids
    }

    /// Whether the id at a place has the prefix of the one before it, and is asked for with it.
    fn goes_along(&self, place: usize) -> bool {
        let prefix = |place| self.ids.get(place).map(ids::prefix);
        self.by_prefix && place.checked_sub(1).is_some_and(|one| prefix(one) == prefix(place))
    }
}

/// Parts of an answer that are made and not taken in by the initiator yet.
const PARTS_AHEAD: usize = 3;

/// Bytes that an answer of bodies holds whatever is read.
fn parts_len(part_len_max: usize) -> usize {
    part_len_max.saturating_mul(PARTS_AHEAD)
}

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
        Ok(Self {
            held: open.memory.reserve(parts_len(part_len_max))?,
            key: open.key.clone(),
            echo,
            wanted,
            part_len_max,
            answer_len_aim: limits.answer_len_aim,
            processed: 0,
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
    /// In place of a body that can't be read is its id; of an entry of the log nothing. Holds at
    /// most one body beside the part.
    pub fn next(&mut self, source: &impl Source) -> Option<Result<Response, Refusal>> {
        if self.ended {
            return None;
        }
        while self.rest() < self.part_len_max && !self.is_processed() {
            self.read(source);
            let held = parts_len(self.part_len_max) + self.ready.capacity();
            if let Err(exhausted) = self.held.resize(held) {
                (self.ready, self.given, self.ended) = (Vec::new(), 0, true);
                return Some(Err(exhausted.into()));
            }
        }
        let bytes = self.cut();
        self.ended = self.rest() == 0 && self.is_processed();
        let end = self.ended.then(|| BodiesEnd { processed: self.asked_and_processed() });
        let part = self.part;
        self.part += 1;
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
        let bytes = self.ready.get(self.given..end);
        let bytes = bytes.unwrap_or_else(|| internal_error("a byte of a part")).to_vec();
        self.given = end;
        bytes
    }

    /// Whether nothing more is read: all are processed, or enough for one answer.
    fn is_processed(&self) -> bool {
        let (all, goes_along) = match &self.wanted {
            Wanted::Ids(ids) => (ids.as_slice().len() as u64, ids.goes_along(self.place())),
            Wanted::Entries(entries) => (entries.end - entries.start, false),
        };
        self.processed >= all || self.made >= self.answer_len_aim && !goes_along
    }

    /// How many of the ids, prefixes or entries asked for are processed.
    fn asked_and_processed(&self) -> u64 {
        let more = match &self.wanted {
            Wanted::Ids(ids) => (0..self.place()).filter(|place| ids.goes_along(*place)).count(),
            Wanted::Entries(_) => 0,
        };
        self.processed - more as u64
    }

    /// The place of the next id.
    fn place(&self) -> usize {
        let place = usize::try_from(self.processed);
        place.unwrap_or_else(|_| internal_error("the place of an id"))
    }

    /// Reads as many bodies as make up a part with what is left over, or at least one.
    fn read(&mut self, source: &impl Source) {
        self.ready.drain(..self.given);
        self.given = 0;
        // What an answer may have in it yet, as far as that is less than a part.
        let left = self.answer_len_aim.saturating_sub(self.made);
        let aim = left.min(self.part_len_max - self.ready.len());
        let before = self.ready.len();
        self.ready.reserve(self.part_len_max);
        // A source that reads nothing would be asked for ever.
        let processed = match &self.wanted {
            Wanted::Ids(ids) => {
                let ids = ids.as_slice().get(self.place()..);
                let ids = ids.unwrap_or_else(|| internal_error("an id asked for"));
                let mut read = source.bodies(ids, aim);
                read.resize(read.len().max(1), None);
                for (id, body) in ids.iter().zip(&read) {
                    match body {
                        Some(body) => bodies::write(body, &mut self.ready),
                        None => bodies::write_absent(id, AbsentReason::Missing, &mut self.ready),
                    }
                }
                read.len()
            }
            Wanted::Entries(entries) => {
                let entries = entries.start + self.processed..entries.end;
                let read = source.entries(entries, aim);
                for body in read.iter().flatten() {
                    bodies::write(body, &mut self.ready);
                }
                read.len().max(1)
            }
        };
        self.processed += processed as u64;
        self.made += self.ready.len() - before;
    }
}
