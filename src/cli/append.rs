//! `stemedb append`: takes lines or files in.
//!
//! ```text
//!  reader thread  --batches-->  this thread  --pending-->  acknowledging thread
//!  read, split                  submit                     wait, print, count
//!                                 |                          ^
//!                                 +--> store, or server -----+
//! ```
//!
//! Both channels are bounded, and so is the store's queue. The reader hands on what one read
//! gave, so that a slow input (`tail -f`) is never kept waiting for a full batch, and a fast one
//! comes in batches of some thousand lines. Ctrl-C and a failed append wake this thread through
//! the first channel, as the reader may be stuck in a read for ever.

mod acknowledge;
mod reader;
mod sink;

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use indicatif::ProgressBar;
use serde::Serialize;
use stemedb::node::status::HeadStatus;
use stemedb::rpc::PeerAddress;
use stemedb::{Head, Store};

use self::acknowledge::{Acknowledger, Print, Tally};
use self::reader::{Input, Split};
use self::sink::{Pending, Receipts, Sink};
use super::failure::Failure;
use super::format::grouped;
use super::signals::Signals;
use super::{Globals, input, open, output, peer, progress};

/// Append lines or files, durably
///
/// Each line of the files, or of standard input, is one body; with --whole each file is one. A
/// line ends at the byte 0x0A only: a CR stays part of it, UTF-8 is not required, and the last line
/// needs no end. Empty lines are skipped. A body that the store holds already is counted as a
/// duplicate. All files are looked at before the first body is appended; those with NUL bytes are
/// taken for no text, and refused.
///
/// Prints the ids of the bodies too where they are no more than 16.
///
/// Ctrl-C stops well: what is acknowledged stays, and the command says how many (exit code 1).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo 'the sky is blue' | stemedb append
  stemedb append facts.nt more.nt
  stemedb append --whole *.pdf
  find . -name '*.nt' -print0 | stemedb append -0
  id=$(echo 'the sky is blue' | stemedb append --ids)
  tail -f /var/log/auth.log | stemedb append --acks
  stemedb append --to 127.0.0.1:7845 facts.nt
                                   To a served store; durable there when acknowledged

JSON: {appended, duplicates, skipped, count, set_root, log_size, log_root, ids, interrupted}; \
ids is null where they are more than 16, and count, set_root, log_size and log_root where the \
server is gone; with --acks and --ids their lines come before it")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct Args {
    /// Files to append; - or none is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Append each file as one body
    #[arg(long)]
    whole: bool,
    /// Bodies end at NUL bytes instead of line ends
    #[arg(short = '0', long, conflicts_with = "whole")]
    nul: bool,
    /// Take lines that have NUL bytes
    #[arg(long, conflicts_with_all = ["whole", "nul"])]
    binary: bool,
    /// Print `index id` for each body as soon as it is durable, and nothing before
    #[arg(long)]
    acks: bool,
    /// Print the id of each body as soon as it is durable, and nothing before
    #[arg(long, conflicts_with = "acks")]
    ids: bool,
    /// Fail where there is no store, instead of making one
    #[arg(long, conflicts_with = "to")]
    no_create: bool,
    /// The longest body to take, below 1G; K, M and G are powers of 1024
    #[arg(long, value_name = "N", default_value = "16M", value_parser = body_len)]
    body_max: u32,
    /// Append to a served store: HOST or HOST:PORT, with https:// before it for TLS
    #[arg(long, value_name = "PEER")]
    to: Option<PeerAddress>,
    #[command(flatten)]
    connection: peer::Connection,
}

/// Batches read ahead: each is what one read gave, 256 KiB or one body.
const BATCHES_AHEAD: usize = 4;
/// Batches in flight; the store's own queue bounds their bytes.
const PENDING_MAX: usize = 64;

/// Event that wakes the submitting thread.
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
    let inputs = reader::inputs(&args.files, args.split())?;
    if let Some(peer) = &args.to {
        return append_to(peer, inputs, args, globals);
    }
    let options = open::options(globals)?.body_len_max(args.body_max);
    let work = |store: &std::sync::Arc<Store>| {
        open::require_secret(store, globals)?;
        let (tally, outcome) = append(Sink::Here(store), Receipts::Here, inputs, args)?;
        finish(store.head().map_err(Failure::from), &tally, outcome, args, globals)
    };
    if args.no_create {
        open::with(globals, options.create(false), work)
    } else {
        open::or_make(globals, options, work)
    }
}

impl Args {
    fn split(&self) -> Split {
        match (self.whole, self.nul) {
            (true, _) => Split::Whole,
            (_, true) => Split::Nul,
            _ => Split::Lines { binary: self.binary },
        }
    }

    fn print(&self) -> Print {
        match (self.acks, self.ids) {
            (true, _) => Print::Acks,
            (_, true) => Print::Ids,
            _ => Print::Nothing,
        }
    }
}

/// Appends to a served store.
fn append_to(
    peer: &PeerAddress,
    inputs: Vec<Input>,
    args: &Args,
    globals: &Globals,
) -> Result<(), Failure> {
    let runtime = peer::runtime()?;
    let client = runtime.block_on(args.connection.connect(peer))?;
    let (sender, receipts) = runtime.block_on(client.append_batch())?;
    let handle = runtime.handle().clone();
    let sink = Sink::There { sender, runtime: handle.clone() };
    let (tally, outcome) = append(sink, Receipts::there(receipts, handle), inputs, args)?;
    let head = runtime.block_on(client.head()).map_err(Failure::from);
    finish(head, &tally, outcome, args, globals)
}

/// Reports what was appended, also where the head cannot be read any more.
fn finish(
    head: Result<Head, Failure>,
    tally: &Tally,
    outcome: Result<(), Failure>,
    args: &Args,
    globals: &Globals,
) -> Result<(), Failure> {
    let (head, outcome) = match head {
        Ok(head) => (Some(head), outcome),
        // The failure of appending is the better reason.
        Err(error) => (None, outcome.and(Err(error))),
    };
    report(head.as_ref(), tally, &outcome, args, globals)?;
    outcome
}

/// Appends all there is. The tally counts what is durable, however it ended.
fn append(
    sink: Sink<'_>,
    receipts: Receipts,
    inputs: Vec<Input>,
    args: &Args,
) -> Result<(Tally, Result<(), Failure>), Failure> {
    let (limit, split) = (args.body_max as usize, args.split());
    let bar = if reader::is_typed(&inputs) {
        output::note("reading from the terminal; end with Ctrl-D on a line of its own");
        ProgressBar::hidden()
    } else {
        progress::bytes(reader::total_len(&inputs))
    };
    let (sender, events) = mpsc::sync_channel(BATCHES_AHEAD);

    let wake = sender.clone();
    let signals = Signals::watch_and(move || {
        // Nobody listens any more once all is submitted: then there is nothing to stop.
        let _ = wake.send(Event::Stop);
    })?;
    let refused = sender.clone();
    // Not joined: it may be stuck in a read for ever. It holds nothing but its input.
    let no_thread = |source| Failure::System { action: "start a thread", source };
    let read = move || reader::read(inputs, split, limit, &sender);
    thread::Builder::new().spawn(read).map_err(no_thread)?;

    let (submitted, waiting) = mpsc::sync_channel(PENDING_MAX);
    let waiter = Acknowledger::new(args.print(), bar, receipts);
    thread::scope(|scope| {
        let acknowledge = move || waiter.run(&waiting, &refused);
        let acknowledging =
            thread::Builder::new().spawn_scoped(scope, acknowledge).map_err(no_thread)?;
        let ended = submit(sink, &events, &submitted, &signals);
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
    mut sink: Sink<'_>,
    events: &Receiver<Event>,
    submitted: &SyncSender<Submitted>,
    signals: &Signals,
) -> Result<(), Failure> {
    for event in events {
        if signals.has_stop() {
            return Err(Failure::Interrupted);
        }
        match event {
            Event::Batch(Batch { bodies, skipped, bytes }) => {
                let pending = sink.submit(bodies);
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

/// Reads the length of the longest body: what a record has room for at most.
fn body_len(text: &str) -> Result<u32, String> {
    let len = input::size(text).map_err(|error| error.to_string())?;
    match u32::try_from(len) {
        Ok(len) if len <= input::BODY_LEN_MAX => Ok(len),
        _ => Err("a body has less than 1G".to_owned()),
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the JSON")]
struct Appended {
    appended: u64,
    duplicates: u64,
    skipped: u64,
    #[serde(flatten)]
    head: AppendedHead,
    ids: Option<Vec<String>>,
    interrupted: bool,
}

/// The head after appending; nothing where it is not known, as the server is gone.
#[derive(Default, Serialize)]
struct AppendedHead {
    count: Option<u64>,
    set_root: Option<String>,
    log_size: Option<u64>,
    log_root: Option<String>,
}

impl From<&Head> for AppendedHead {
    fn from(head: &Head) -> Self {
        let HeadStatus { count, set_root, log_size, log_root } = head.into();
        Self {
            count: Some(count),
            set_root: Some(set_root),
            log_size: Some(log_size),
            log_root: Some(log_root),
        }
    }
}

fn report(
    head: Option<&Head>,
    tally: &Tally,
    outcome: &Result<(), Failure>,
    args: &Args,
    globals: &Globals,
) -> Result<(), Failure> {
    let interrupted = matches!(outcome, Err(Failure::Interrupted));
    if outcome.is_err() {
        output::note(format_args!(
            "{} acknowledged and durable: {} appended, {} held before",
            grouped(tally.acknowledged()),
            grouped(tally.appended),
            grouped(tally.duplicates)
        ));
    }
    if globals.json {
        return output::json(&Appended {
            appended: tally.appended,
            duplicates: tally.duplicates,
            skipped: tally.skipped,
            head: head.map(AppendedHead::from).unwrap_or_default(),
            ids: tally.few_ids().map(|ids| ids.iter().map(ToString::to_string).collect()),
            interrupted,
        });
    }
    let mut rows = vec![
        ("appended", grouped(tally.appended)),
        ("duplicates", grouped(tally.duplicates)),
        ("skipped", grouped(tally.skipped)),
    ];
    rows.extend(head.map(super::root::rows).into_iter().flatten());
    let shown = tally.few_ids().filter(|_| args.print() == Print::Nothing);
    let ids = shown.unwrap_or_default();
    rows.extend(ids.iter().map(|id| ("id", id.to_string())));
    let table = output::table(&rows);
    if args.print() != Print::Nothing {
        // Standard output belongs to the lines that were asked for.
        output::stderr(&table);
        return Ok(());
    }
    output::raw(table.as_bytes())
}
