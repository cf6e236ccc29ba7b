//! One commit: everything between taking requests and acknowledging them. No threads of its own.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use stemedb_merkle::Hash;

use super::{Index, Outcome, Receipt, Receipts, Submission};
use crate::{
    error::AppendError,
    log::{Log, NewRecord, Placed, SyncDone, SyncJob, encode::ToRecord},
};

/// How many records make it worth while to sync in another thread.
const PARALLEL_RECORDS_MIN: usize = 8;

/// Appends bodies, syncs once, and returns the receipts for each submission.
///
/// This is what the writer's thread does for each group, for those who want no threads.
pub fn commit<I: Index>(
    log: &mut Log,
    index: &mut I,
    now: u64,
    submissions: &[Submission],
) -> Vec<Result<Vec<Receipt>, AppendError>> {
    let mut group = Group::default();
    let references: Vec<&Submission> = submissions.iter().collect();
    let results = group.commit(log, index, now, &references, None);
    results
        .into_iter()
        .map(|result| {
            result.map(|receipts| match receipts {
                Receipts::One(receipt) => vec![receipt],
                Receipts::Many(receipts) => receipts,
            })
        })
        .collect()
}

/// Runs syncs elsewhere.
pub(crate) trait Syncer {
    /// Begins a sync. One at a time.
    fn begin(&mut self, job: SyncJob);
    /// Waits for its end.
    fn finish(&mut self) -> SyncDone;
}

/// Memory that commits use again and again.
#[derive(Debug, Default)]
pub(crate) struct Group {
    placed: Vec<Placed>,
    seen: HashMap<Hash, usize, BuildHasherDefault<IdHasher>>,
}

/// Where a body's receipt comes from.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// It is the n-th of the records written now.
    Write {
        number: usize,
        outcome: Outcome,
    },
    Held(Receipt),
}

impl Group {
    pub(crate) fn commit<I: Index>(
        &mut self,
        log: &mut Log,
        index: &mut I,
        now: u64,
        submissions: &[&Submission],
        syncer: Option<&mut dyn Syncer>,
    ) -> Vec<Result<Receipts, AppendError>> {
        if let Some(failure) = log.failure() {
            let error = AppendError::Poisoned(failure.clone());
            return submissions.iter().map(|_| Err(error.clone())).collect();
        }
        self.placed.clear();
        self.seen.clear();
        let mut plans: Vec<Result<Vec<Plan>, AppendError>> = Vec::with_capacity(submissions.len());
        let mut records: Vec<NewRecord<'_>> = Vec::new();
        // Where each submission's new records end: a batch is never cut inside of one.
        let mut ends = Vec::with_capacity(submissions.len());
        let alone = submissions.len() == 1 && submissions.iter().all(|only| only.len() == 1);
        for submission in submissions {
            plans.push(self.plan(log, index, submission, alone, &mut records));
            ends.push(records.len());
        }
        let written = if records.is_empty() {
            Ok(())
        } else {
            self.write(log, now, &records, &ends)
                .and_then(|()| self.sync_and_apply(log, index, syncer))
        };
        if let Err(error) = written {
            return submissions.iter().map(|_| Err(error.clone())).collect();
        }
        plans.into_iter().map(|plan| plan.and_then(|plan| self.receipts(plan))).collect()
    }

    /// What to do with each body of a submission; new ones are added to `records`.
    fn plan<'a, I: Index>(
        &mut self,
        log: &Log,
        index: &I,
        submission: &'a Submission,
        alone: bool,
        records: &mut Vec<NewRecord<'a>>,
    ) -> Result<Vec<Plan>, AppendError> {
        let mut plans = Vec::with_capacity(submission.len());
        let first = records.len();
        for (id, body) in submission.bodies() {
            let plan = self.plan_body(log, index, id, body, alone, records);
            match plan {
                Ok(plan) => plans.push(plan),
                Err(error) => {
                    // All or none of them.
                    for record in records.drain(first..) {
                        self.seen.remove(&record.id);
                    }
                    return Err(error);
                }
            }
        }
        Ok(plans)
    }

    fn plan_body<'a, I: Index>(
        &mut self,
        log: &Log,
        index: &I,
        id: Hash,
        body: &'a [u8],
        alone: bool,
        records: &mut Vec<NewRecord<'a>>,
    ) -> Result<Plan, AppendError> {
        log.check_len(body.len() as u64)?;
        let lookup = |error| AppendError::Lookup(Arc::new(error));
        if let Some(position) = index.position_of(&id).map_err(lookup)? {
            let entry = log.entry(position).map_err(lookup)?;
            let (index, time, outcome) = (entry.index, entry.time, Outcome::Duplicate);
            return Ok(Plan::Held(Receipt { id, index, time, position, outcome }));
        }
        let heals = index.hole_of(&id);
        let outcome = if heals.is_some() { Outcome::Healed } else { Outcome::Appended };
        let number = records.len();
        if !alone {
            match self.seen.entry(id) {
                Entry::Occupied(same) => {
                    return Ok(Plan::Write { number: *same.get(), outcome: Outcome::Duplicate });
                }
                Entry::Vacant(new) => {
                    new.insert(number);
                }
            }
        }
        records.push(NewRecord { id, body, heals });
        Ok(Plan::Write { number, outcome })
    }

    /// Writes the records, as few batches as the limit allows, none cut inside a submission that
    /// fits into one.
    fn write(
        &mut self,
        log: &mut Log,
        now: u64,
        records: &[NewRecord<'_>],
        ends: &[usize],
    ) -> Result<(), AppendError> {
        let (mut start, mut end, mut len) = (0, 0, 0);
        let mut write = |log: &mut Log, from: usize, to: usize| {
            let batch = records.get(from..to).unwrap_or_default();
            if batch.is_empty() { Ok(()) } else { log.write(batch, now, &mut self.placed) }
        };
        for &next in ends {
            let added: u64 =
                records.get(end..next).unwrap_or_default().iter().map(ToRecord::record_len).sum();
            if len + added > log.batch_len_max() {
                write(log, start, end)?;
                (start, len) = (end, 0);
            }
            len += added;
            end = next;
        }
        write(log, start, end)
    }

    fn sync_and_apply<I: Index>(
        &mut self,
        log: &mut Log,
        index: &mut I,
        syncer: Option<&mut dyn Syncer>,
    ) -> Result<(), AppendError> {
        match syncer {
            Some(syncer) if self.placed.len() >= PARALLEL_RECORDS_MIN => {
                syncer.begin(log.begin_sync());
                index.apply(&self.placed);
                log.finish_sync(syncer.finish())?;
            }
            _ => {
                log.sync()?;
                index.apply(&self.placed);
            }
        }
        log.publish();
        index.publish(log.durable());
        Ok(())
    }

    fn receipts(&self, plans: Vec<Plan>) -> Result<Receipts, AppendError> {
        let receipt = |plan: Plan| match plan {
            Plan::Held(receipt) => Ok(receipt),
            Plan::Write { number, outcome } => {
                // Each record that was written has its place.
                let placed = self.placed.get(number).ok_or(AppendError::Closed)?;
                let Placed { id, index, time, position, .. } = *placed;
                Ok(Receipt { id, index, time, position, outcome })
            }
        };
        match plans.as_slice() {
            [plan] => receipt(*plan).map(Receipts::One),
            _ => plans.into_iter().map(receipt).collect::<Result<_, _>>().map(Receipts::Many),
        }
    }
}

/// Ids are hashes already: eight of their bytes will do.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _len: usize) {}
}
