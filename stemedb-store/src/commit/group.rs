//! What a commit writes, and the receipts that come of it.

use std::{
    collections::{HashMap, hash_map::Entry},
    ops::Range,
    sync::Arc,
};

use stemedb_merkle::{Hash, Timestamp};

use super::{
    Receipt, Receipts, Submission,
    verify::{Answer, Unverified},
};
use crate::{id_hash::IdHashBuilder, index::IndexWriter};
use stemedb_wal::{
    error::{AppendError, ReadError},
    log::{Log, NewRecord, Placed},
};

/// Memory that groups use again and again.
#[derive(Debug, Default)]
pub(crate) struct Group {
    seen: HashMap<Hash, usize, IdHashBuilder>,
    placed: Vec<Placed>,
}

/// Submissions whose new bodies are written, and not yet durable.
#[derive(Debug)]
pub(crate) struct Staged {
    plans: Vec<Result<Vec<Plan>, AppendError>>,
    pub(crate) placed: Vec<Placed>,
}

/// Where a body's receipt comes from.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// It is the n-th of the records written now.
    Write { number: usize, duplicate: bool },
    /// It is held at this position.
    Held(u64),
}

/// What became of a submission.
#[derive(Debug)]
pub(crate) enum Settled<'a> {
    Done(Result<Receipts, AppendError>),
    /// It is durable, but for bodies that are to be read back first.
    Unverified(Unverified<'a>),
}

impl Group {
    /// Looks up all bodies and writes those that are new.
    ///
    /// What was staged before has to be applied to the index.
    pub(crate) fn stage(
        &mut self,
        log: &mut Log,
        index: &IndexWriter,
        now: Timestamp,
        submissions: &[Submission<'_>],
    ) -> Staged {
        let mut placed = std::mem::take(&mut self.placed);
        placed.clear();
        self.seen.clear();
        if let Some(failure) = log.failure() {
            let error = AppendError::Poisoned(failure.clone());
            return Staged {
                plans: submissions.iter().map(|_| Err(error.clone())).collect(),
                placed,
            };
        }
        let mut plans: Vec<Result<Vec<Plan>, AppendError>> = Vec::with_capacity(submissions.len());
        let mut records: Vec<NewRecord<'_>> = Vec::new();
        // Where each submission's new records end: a batch is never cut inside of one.
        let mut ends = Vec::with_capacity(submissions.len());
        let alone = submissions.len() == 1 && submissions.iter().all(|only| only.len() == 1);
        let ids = || submissions.iter().flat_map(Submission::ids);
        let unknown = ids().filter(|(_, held)| held.is_none()).map(|(id, _)| id);
        let found = index.positions_of(&unknown.collect::<Vec<_>>());
        // Where one can't be told, each is asked for by itself, and only its own submission fails.
        let held = found.ok().map(|found| {
            let mut found = found.into_iter();
            ids().map(|(_, held)| held.or_else(|| found.next().flatten())).collect::<Vec<_>>()
        });
        let mut held = held.map(Vec::into_iter);
        for submission in submissions {
            plans.push(self.plan(log, index, submission, &mut held, alone, &mut records));
            ends.push(records.len());
        }
        if let Err(error) = write(log, now, &records, &ends, &mut placed) {
            let error = if placed.is_empty() { error } else { log.give_up(error) };
            placed.clear();
            plans = submissions.iter().map(|_| Err(error.clone())).collect();
        }
        Staged { plans, placed }
    }

    /// Takes memory back that a staged group does not need any more.
    pub(crate) fn recycle(&mut self, placed: Vec<Placed>) {
        self.placed = placed;
    }

    /// What to do with each body of a submission; new ones are added to `records`.
    fn plan<'a>(
        &mut self,
        log: &Log,
        index: &IndexWriter,
        submission: &'a Submission<'_>,
        held: &mut Option<std::vec::IntoIter<Option<u64>>>,
        alone: bool,
        records: &mut Vec<NewRecord<'a>>,
    ) -> Result<Vec<Plan>, AppendError> {
        let mut plans = Vec::with_capacity(submission.len());
        let first = records.len();
        let mut failure = None;
        for (id, body) in submission.bodies() {
            let position = match held.as_mut().and_then(Iterator::next) {
                Some(position) => Ok(position),
                None => index.position_of(&id),
            };
            if failure.is_none() {
                let plan = self.plan_body(log, index, (id, body), position, alone, records);
                failure = plan.map(|plan| plans.push(plan)).err();
            }
        }
        let Some(error) = failure else { return Ok(plans) };
        // All or none of them.
        for record in records.drain(first..) {
            self.seen.remove(&record.id);
        }
        Err(error)
    }

    fn plan_body<'a>(
        &mut self,
        log: &Log,
        index: &IndexWriter,
        (id, body): (Hash, &'a [u8]),
        position: Result<Option<u64>, ReadError>,
        alone: bool,
        records: &mut Vec<NewRecord<'a>>,
    ) -> Result<Plan, AppendError> {
        log.check_len(body.len() as u64)?;
        let lookup = |error| AppendError::Lookup(Arc::new(error));
        if let Some(position) = position.map_err(lookup)? {
            return Ok(Plan::Held(position));
        }
        let heals = index.hole_of(&id);
        let number = records.len();
        if !alone {
            match self.seen.entry(id) {
                Entry::Occupied(same) => {
                    return Ok(Plan::Write { number: *same.get(), duplicate: true });
                }
                Entry::Vacant(new) => {
                    new.insert(number);
                }
            }
        }
        records.push(NewRecord { id, body, heals });
        Ok(Plan::Write { number, duplicate: false })
    }
}

impl Staged {
    /// Whether anything was written, so that a sync is needed.
    pub(crate) fn needs_sync(&self) -> bool {
        !self.placed.is_empty()
    }

    /// What became of each of the submissions that were staged, in their order: `synced` says
    /// whether all is durable and published.
    pub(crate) fn results<'a>(
        &self,
        synced: &Result<(), AppendError>,
        submissions: impl IntoIterator<Item = Submission<'a>>,
    ) -> impl Iterator<Item = Settled<'a>> {
        self.plans.iter().zip(submissions).map(move |(plans, bodies)| {
            match synced.clone().and_then(|()| plans.as_ref().map_err(Clone::clone)) {
                Ok(plans) => self.settle(plans, bodies),
                Err(error) => Settled::Done(Err(error)),
            }
        })
    }

    fn settle<'a>(&self, plans: &[Plan], bodies: Submission<'a>) -> Settled<'a> {
        if plans.iter().any(|plan| matches!(plan, Plan::Held(_))) {
            let answers = plans.iter().map(|plan| match *plan {
                Plan::Held(position) => Ok(Answer::Held(position)),
                Plan::Write { number, duplicate } => {
                    self.receipt(number, duplicate).map(Answer::Receipt)
                }
            });
            return match answers.collect() {
                Ok(answers) => Settled::Unverified(Unverified::new(bodies, answers)),
                Err(error) => Settled::Done(Err(error)),
            };
        }
        let receipt = |plan: &Plan| match *plan {
            Plan::Write { number, duplicate } => self.receipt(number, duplicate),
            Plan::Held(_) => Err(AppendError::Closed),
        };
        Settled::Done(match plans {
            [plan] => receipt(plan).map(Receipts::One),
            _ => plans.iter().map(receipt).collect::<Result<_, _>>().map(Receipts::Many),
        })
    }

    fn receipt(&self, number: usize, duplicate: bool) -> Result<Receipt, AppendError> {
        // Each record that was written has its place.
        let placed = self.placed.get(number).ok_or(AppendError::Closed)?;
        Ok(Receipt::of(placed, duplicate))
    }
}

/// Writes the records in as few batches as the limit allows, none cut inside a submission that fits
/// into one. `ends` says where each submission's end.
fn write(
    log: &mut Log,
    now: Timestamp,
    records: &[NewRecord<'_>],
    ends: &[usize],
    placed: &mut Vec<Placed>,
) -> Result<(), AppendError> {
    let (mut start, mut end, mut len) = (0, 0, 0);
    let mut write =
        |log: &mut Log, from: usize, to: usize| log.write(part(records, from..to), now, placed);
    for &next in ends {
        let added: u64 = part(records, end..next).iter().map(NewRecord::record_len).sum();
        if len + added > log.batch_len_max() {
            write(log, start, end)?;
            (start, len) = (end, 0);
        }
        len += added;
        end = next;
    }
    write(log, start, end)
}

/// Some of the records. A record that is left out would shift the receipts of all behind it.
fn part<'a, 'b>(records: &'a [NewRecord<'b>], of: Range<usize>) -> &'a [NewRecord<'b>] {
    let (start, end) = (of.start, of.end);
    let Some(part) = records.get(of) else {
        unreachable!("internal error: {start} to {end} of {} records", records.len())
    };
    part
}
