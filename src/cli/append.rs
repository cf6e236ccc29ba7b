//! `stemedb append`: takes lines or files in.
//!
//! ```text
//!  reader thread  --batches-->  this thread  --pending-->  acknowledging thread
//!  read, split                  submit                     wait, print, count
//! ```
//!
//! Both channels are bounded, and so is the store's queue. The reader hands on what one read
//! gave, so that a slow input (`tail -f`) is never kept waiting for a full batch, and a fast one
//! comes in batches of some thousand lines. Ctrl-C and a failed append wake this thread through
//! the first channel, as the reader may be stuck in a read for ever.

mod acknowledge;
mod lines;
mod reader;

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use indicatif::ProgressBar;
use serde_json::json;
use stemedb::{Options, Pending, Store};

use self::acknowledge::{Acknowledger, Tally};
use self::reader::{Input, Split};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::{Globals, open, output, progress};

/// Append lines or files, durably
///
/// Each line of the files, or of standard input, is one body; with --whole each file is one. A
/// line ends at the byte 0x0A only: a CR stays part of it, UTF-8 is not required, and the last line
/// needs no end. Empty lines are skipped. A body that the store holds already is counted as a
/// duplicate. All files are looked at before the first body is appended.
///
/// Ctrl-C stops well: what is acknowledged stays, and the command says how many (exit code 1).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo 'the sky is blue' | stemedb append
  stemedb append facts.nt more.nt
  stemedb append --whole *.pdf
  tail -f /var/log/auth.log | stemedb append --acks

JSON: {appended, duplicates, skipped, count, set_root, log_size, log_root, interrupted}; with \
--acks the lines `index id` come before it")]
pub(super) struct Args {
    /// Files to append; - or none is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Append each file as one body
    #[arg(long)]
    whole: bool,
    /// Print `index id` for each body as soon as it is durable, and nothing before
    #[arg(long)]
    acks: bool,
}

/// Batches read ahead: each is what one read gave, 256 KiB or one body.
const BATCHES_AHEAD: usize = 4;
/// Batches in flight; the store's own queue bounds their bytes.
const PENDING_MAX: usize = 64;

/// What wakes the submitting thread.
enum Event {
    /// The reader read something.
    Batch(Batch),
    /// The reader is through.
    End,
    /// The reader cannot go on.
    Failed(Failure),
    /// Ctrl-C, or the store refused a batch: look which, and stop.
    Stop,
}

/// Bodies that are appended together.
#[derive(Default)]
struct Batch {
    bodies: Vec<Vec<u8>>,
    /// Empty lines between them.
    skipped: u64,
    /// Bytes of input that they come from.
    bytes: u64,
}

/// A batch on its way to the disk.
struct Submitted {
    pending: Pending,
    skipped: u64,
    bytes: u64,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let inputs = reader::inputs(&args.files)?;
    open::or_make(globals, |store| {
        open::require_secret(store, globals)?;
        let (tally, outcome) = append(store, inputs, args)?;
        report(store, &tally, &outcome, args, globals)?;
        outcome
    })
}

/// Appends all there is. The tally counts what is durable, however it ended.
fn append(
    store: &Store,
    inputs: Vec<Input>,
    args: &Args,
) -> Result<(Tally, Result<(), Failure>), Failure> {
    let limit = Options::default().body_len_max;
    let split = if args.whole { Split::Whole } else { Split::Lines };
    let bar = if reader::is_typed(&inputs) {
        output::note("reading from the terminal; end with Ctrl-D on a line of its own");
        ProgressBar::hidden()
    } else {
        progress::bytes(reader::total_len(&inputs))
    };
    let (sender, events) = mpsc::sync_channel(BATCHES_AHEAD);

    let wake = sender.clone();
    let interrupt = Interrupt::watch(move || {
        // Nobody listens any more once all is submitted: then there is nothing to stop.
        let _ = wake.send(Event::Stop);
    })?;
    let refused = sender.clone();
    // Not joined: it may be stuck in a read for ever. It holds nothing but its input.
    thread::spawn(move || reader::read(inputs, split, limit as usize, &sender));

    let (submitted, waiting) = mpsc::sync_channel(PENDING_MAX);
    let waiter = Acknowledger::new(args.acks, bar);
    thread::scope(|scope| {
        let acknowledging = scope.spawn(move || waiter.run(&waiting, &refused));
        let ended = submit(store, &events, &submitted, &interrupt);
        drop(submitted);
        let (tally, acknowledged) = match acknowledging.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok((tally, acknowledged.and(ended)))
    })
}

/// Hands batches to the store, in order, until there are no more or something stops it.
fn submit(
    store: &Store,
    events: &Receiver<Event>,
    submitted: &SyncSender<Submitted>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    for event in events {
        if interrupt.is_pressed() {
            return Err(Failure::Interrupted);
        }
        match event {
            Event::Batch(Batch { bodies, skipped, bytes }) => {
                let pending = store.submit(bodies);
                if submitted.send(Submitted { pending, skipped, bytes }).is_err() {
                    // The acknowledging thread stopped, and has the reason.
                    return Ok(());
                }
            }
            Event::End | Event::Stop => return Ok(()),
            Event::Failed(failure) => return Err(failure),
        }
    }
    Ok(())
}

fn report(
    store: &Store,
    tally: &Tally,
    outcome: &Result<(), Failure>,
    args: &Args,
    globals: &Globals,
) -> Result<(), Failure> {
    let head = store.head();
    let interrupted = matches!(outcome, Err(Failure::Interrupted));
    if outcome.is_err() {
        output::note(format_args!(
            "{} acknowledged and durable: {} appended, {} held before",
            tally.acknowledged(),
            tally.appended,
            tally.duplicates
        ));
    }
    if globals.json {
        let mut fields = serde_json::Map::new();
        fields.insert("appended".to_owned(), json!(tally.appended));
        fields.insert("duplicates".to_owned(), json!(tally.duplicates));
        fields.insert("skipped".to_owned(), json!(tally.skipped));
        fields.extend(super::root::fields(&head));
        fields.insert("interrupted".to_owned(), json!(interrupted));
        return output::json(&fields.into());
    }
    let mut rows = vec![
        ("appended", tally.appended.to_string()),
        ("duplicates", tally.duplicates.to_string()),
        ("skipped", tally.skipped.to_string()),
    ];
    rows.extend(super::root::rows(&head));
    let table = output::table(&rows);
    if args.acks {
        // Standard output belongs to the acknowledgements.
        output::aside(&table);
        return Ok(());
    }
    output::raw(table.as_bytes())
}
