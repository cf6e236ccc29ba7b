//! What a commit writes, and the receipts that come of it.

use std::{ops::Range, sync::Arc};

use stemedb_merkle::{Hash, Timestamp};

use super::{
    Receipt, Receipts, Submission,
    verify::{Answer, Unverified},
};
use crate::index::{Asked, Claim, IndexWriter};
use stemedb_wal::{
    error::AppendError,
    log::{Log, NewRecord, Placed},
};

/// Memory that groups use again and again.
#[derive(Debug, Default)]
pub(crate) struct Group {
    asked: Vec<Asked>,
    claims: Vec<Claim>,
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
        let mut refused: Vec<Option<AppendError>> =
            submissions.iter().map(|submission| refusal(log, submission)).collect();
        self.asked.clear();
        let taken = submissions.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
        self.asked.extend(taken.flat_map(|(submission, _)| submission.asked()));
        self.claims.clear();
        if let Err(error) = index.claim(&self.asked, &mut self.claims) {
            let error = AppendError::Lookup(Arc::new(error));
            for (submission, refused) in submissions.iter().zip(&mut refused) {
                if submission.asked().next().is_some() {
                    refused.get_or_insert_with(|| error.clone());
                }
            }
        }
        let mut plans: Vec<Result<Vec<Plan>, AppendError>> = Vec::with_capacity(submissions.len());
        let mut records: Vec<NewRecord<'_>> = Vec::with_capacity(self.claims.len());
        // Where each submission's new records end: a batch is never cut inside of one.
        let mut ends = Vec::with_capacity(submissions.len());
        let mut claims = self.claims.iter().copied();
        for (submission, refused) in submissions.iter().zip(refused) {
            plans.push(match refused {
                None => Ok(plan(index, submission, &mut claims, &mut records)),
                Some(error) => Err(error),
            });
            ends.push(records.len());
        }
        if let Err(error) = write(log, now, &records, &ends, &mut placed) {
            let error = if placed.is_empty() { error } else { log.give_up(error) };
            placed.clear();
            plans = submissions.iter().map(|_| Err(error.clone())).collect();
        }
        if placed.is_empty() {
            index.abandon();
        }
        Staged { plans, placed }
    }

    /// Takes memory back that a staged group does not need any more.
    pub(crate) fn recycle(&mut self, placed: Vec<Placed>) {
        self.placed = placed;
    }
}

/// Why no body of a submission is appended, if one of them can't be.
fn refusal(log: &Log, submission: &Submission<'_>) -> Option<AppendError> {
    if let Some(failure) = log.failure() {
        return Some(AppendError::Poisoned(failure.clone()));
    }
    submission.bodies().find_map(|(_, body)| log.check_len(body.len() as u64).err())
}

/// What to do with each body of a submission; new ones are added to `records`.
fn plan<'a>(
    index: &IndexWriter,
    submission: &'a Submission<'_>,
    claims: &mut impl Iterator<Item = Claim>,
    records: &mut Vec<NewRecord<'a>>,
) -> Vec<Plan> {
    let plan = |((id, body), held): ((Hash, &'a [u8]), Option<u64>)| {
        let claim = held.map(Claim::Held).or_else(|| claims.next());
        match claim.unwrap_or_else(|| unreachable!("internal error: a body without a claim")) {
            Claim::Held(position) => Plan::Held(position),
            Claim::Same(number) => Plan::Write { number, duplicate: true },
            Claim::New(number) => {
                assert!(number == records.len(), "internal error: {number} of the new records");
                records.push(NewRecord { id, body, heals: index.hole_of(&id) });
                Plan::Write { number, duplicate: false }
            }
        }
    };
    submission.bodies().zip(submission.held()).map(plan).collect()
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
