//! Waiting for batches to be durable, in the order they were submitted, and saying so.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender};

use indicatif::ProgressBar;
use stemedb::{AssertionId, Receipt};

use super::sink::Receipts;
use super::{Event, Submitted};
use crate::cli::failure::{Failure, OutputError};
use crate::cli::output;

/// Most bodies whose ids are printed without `--ids`: they fit on a screen beside the rest.
const IDS_TOLD_MAX: usize = 16;

/// Counts of what is durable so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) appended: u64,
    pub(super) duplicates: u64,
    pub(super) skipped: u64,
    /// The ids of the first of them.
    ids: Vec<AssertionId>,
}

/// Line that is printed for each body as soon as it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Print {
    /// None.
    Nothing,
    /// Its index and id.
    Acks,
    /// Its id.
    Ids,
}

impl Tally {
    /// Bodies that the store holds for certain.
    pub(super) fn acknowledged(&self) -> u64 {
        self.appended + self.duplicates
    }

    /// The ids of all of them, in order, if they are few.
    pub(super) fn few_ids(&self) -> Option<&[AssertionId]> {
        let all = self.acknowledged() == self.ids.len() as u64;
        all.then_some(self.ids.as_slice())
    }

    fn count(&mut self, receipt: &Receipt) {
        *if receipt.duplicate { &mut self.duplicates } else { &mut self.appended } += 1;
        if self.ids.len() < IDS_TOLD_MAX {
            self.ids.push(receipt.id);
        }
    }
}

/// Waits, prints and counts.
pub(super) struct Acknowledger {
    /// What to print for each body, as long as somebody reads it.
    print: Print,
    bar: ProgressBar,
    receipts: Receipts,
    tally: Tally,
}

impl Acknowledger {
    pub(super) fn new(print: Print, bar: ProgressBar, receipts: Receipts) -> Self {
        Self { print, bar, receipts, tally: Tally::default() }
    }

    /// Runs until the last batch is acknowledged or the first fails; in that case it wakes
    /// the submitter.
    pub(super) fn run(
        mut self,
        waiting: &Receiver<Submitted>,
        refused: &SyncSender<Event>,
    ) -> (Tally, Result<(), Failure>) {
        let outcome = waiting.iter().try_for_each(|batch| self.acknowledge(batch));
        if outcome.is_err() {
            // If the channel is full the submitter is not waiting in it, and finds out when it
            // hands over its next batch.
            let _ = refused.try_send(Event::Stop);
        }
        self.bar.finish_and_clear();
        (self.tally, outcome)
    }

    fn acknowledge(&mut self, batch: Submitted) -> Result<(), Failure> {
        let receipts = self.receipts.of(batch.pending)?;
        for receipt in &receipts {
            self.tally.count(receipt);
        }
        self.tally.skipped += batch.skipped;
        self.bar.inc(batch.bytes);
        if self.print == Print::Nothing {
            return Ok(());
        }
        match self.bar.suspend(|| print(self.print, &receipts)) {
            // The reader of acknowledgements has gone; what was to be appended still is.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.print = Print::Nothing;
            }
            printed => printed.map_err(OutputError)?,
        }
        Ok(())
    }
}

fn print(what: Print, receipts: &[Receipt]) -> io::Result<()> {
    let mut out = output::stdout();
    for Receipt { index, id, .. } in receipts {
        match what {
            Print::Nothing => {}
            Print::Acks => writeln!(out, "{index} {id}")?,
            Print::Ids => writeln!(out, "{id}")?,
        }
    }
    out.flush()
}
