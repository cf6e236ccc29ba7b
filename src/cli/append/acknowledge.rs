//! Waiting for batches to be durable, in the order they were submitted, and saying so.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender};

use indicatif::ProgressBar;
use stemedb::Receipt;

use super::sink::Receipts;
use super::{Event, Submitted};
use crate::cli::failure::{Failure, OutputError};
use crate::cli::output;

/// Counts of what is durable so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) appended: u64,
    pub(super) duplicates: u64,
    pub(super) skipped: u64,
}

impl Tally {
    /// Bodies that the store holds for certain.
    pub(super) fn acknowledged(&self) -> u64 {
        self.appended + self.duplicates
    }
}

/// Waits, prints and counts.
pub(super) struct Acknowledger {
    /// Print a line for each body, as long as somebody reads them.
    print: bool,
    bar: ProgressBar,
    receipts: Receipts,
    tally: Tally,
}

impl Acknowledger {
    pub(super) fn new(print: bool, bar: ProgressBar, receipts: Receipts) -> Self {
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
            let Tally { appended, duplicates, .. } = &mut self.tally;
            *if receipt.duplicate { duplicates } else { appended } += 1;
        }
        self.tally.skipped += batch.skipped;
        self.bar.inc(batch.bytes);
        if !self.print {
            return Ok(());
        }
        match self.bar.suspend(|| print(&receipts)) {
            // The reader of acknowledgements has gone; what was to be appended still is.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.print = false,
            printed => printed.map_err(OutputError)?,
        }
        Ok(())
    }
}

fn print(receipts: &[Receipt]) -> io::Result<()> {
    let mut out = output::stdout();
    for receipt in receipts {
        writeln!(out, "{} {}", receipt.index, receipt.id)?;
    }
    out.flush()
}
