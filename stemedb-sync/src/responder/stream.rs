//! An answer of bodies, made part by part.

use core::ops::Range;
use std::{collections::VecDeque, sync::Arc};

use stemedb_merkle::Hash;

use crate::{
    codec::bodies,
    limits::Limits,
    message::{Answer, Bodies, BodiesEnd, Echo, Response},
    replica::Source,
};

/// The parts of an answer of bodies. Each is read from the store when it is asked for.
#[derive(Debug)]
pub struct BodyStream {
    echo: Echo,
    wanted: Wanted,
    part_len_max: usize,
    answer_len_aim: usize,
    /// How many are dealt with.
    dealt: u64,
    /// Bytes made, those given out included.
    made: usize,
    /// Bytes made and not given out.
    ready: VecDeque<u8>,
    part: u32,
    ended: bool,
}

#[derive(Debug)]
enum Wanted {
    Ids(Arc<[Hash]>),
    Entries(Range<u64>),
}

impl BodyStream {
    pub(super) fn of_ids(echo: Echo, ids: Arc<[Hash]>, limits: &Limits) -> Self {
        Self::new(echo, Wanted::Ids(ids), limits)
    }

    pub(super) fn of_entries(echo: Echo, entries: Range<u64>, limits: &Limits) -> Self {
        Self::new(echo, Wanted::Entries(entries), limits)
    }

    fn new(echo: Echo, wanted: Wanted, limits: &Limits) -> Self {
        Self {
            echo,
            wanted,
            part_len_max: limits.part_len_max.max(1),
            answer_len_aim: limits.answer_len_aim,
            dealt: 0,
            made: 0,
            ready: VecDeque::new(),
            part: 0,
            ended: false,
        }
    }

    /// The next part, of [`Limits::part_len_max`] bytes or fewer; `None` behind the last.
    ///
    /// Bodies that can't be read are left out: the other side finds that they are missing. Holds at
    /// most one body beside the part.
    pub fn next(&mut self, source: &impl Source) -> Option<Response> {
        if self.ended {
            return None;
        }
        let mut all = self.is_dealt();
        while self.ready.len() < self.part_len_max && !all {
            if let Some(body) = self.read(source) {
                let mut bytes = Vec::new();
                bodies::write(&body, &mut bytes);
                self.made += bytes.len();
                self.ready.extend(bytes);
            }
            self.dealt += 1;
            all = self.is_dealt();
        }
        let len = self.ready.len().min(self.part_len_max);
        let bytes: Vec<u8> = self.ready.drain(..len).collect();
        self.ended = all && self.ready.is_empty();
        let end = self.ended.then_some(BodiesEnd { dealt: self.dealt });
        let part = self.part;
        self.part = part.saturating_add(1);
        Some(Response { echo: self.echo, answer: Answer::Bodies(Bodies { part, bytes, end }) })
    }

    /// Whether nothing more is read: all are dealt with, or enough for one answer.
    fn is_dealt(&self) -> bool {
        let all = match &self.wanted {
            Wanted::Ids(ids) => ids.len() as u64,
            Wanted::Entries(entries) => entries.end.saturating_sub(entries.start),
        };
        self.dealt >= all || self.made >= self.answer_len_aim
    }

    fn read(&self, source: &impl Source) -> Option<Vec<u8>> {
        match &self.wanted {
            Wanted::Ids(ids) => {
                let id = ids.get(usize::try_from(self.dealt).ok()?)?;
                source.body(id).ok().flatten()
            }
            Wanted::Entries(entries) => {
                source.entry(entries.start.checked_add(self.dealt)?).ok().flatten()
            }
        }
    }
}
