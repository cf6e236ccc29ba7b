//! The inputs, read on a thread of their own.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use super::{Batch, Event};
use crate::cli::failure::{Failure, Origin};
use crate::cli::line_reader::{LineReader, Part, READ_LEN, nul_in_line};
use crate::cli::lines::Lines;

/// How inputs become bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// Each line is one. Files that are not text are taken for it only where that is asked for.
    Lines { binary: bool },
    /// What a NUL byte ends is one.
    Nul,
    /// Each input is one.
    Whole,
}

/// Something to append.
#[derive(Clone, Debug)]
pub(super) struct Input {
    origin: Origin,
    /// The length, if it is a regular file.
    len: Option<u64>,
}

/// Reason for which reading ends early.
enum Stop {
    /// The input is to blame.
    Failed(Failure),
    /// The receiver is gone.
    Unwanted,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Looks at what the arguments name, before anything is appended.
///
/// # Errors
///
/// If a file is missing or is a directory, or begins like no text where lines are wanted.
pub(super) fn inputs(files: &[PathBuf], split: Split) -> Result<Vec<Input>, Failure> {
    if files.is_empty() {
        return Ok(vec![Input { origin: Origin::Stdin, len: None }]);
    }
    files
        .iter()
        .map(|path| match Origin::of(path) {
            Origin::Stdin => Ok(Input { origin: Origin::Stdin, len: None }),
            origin @ Origin::File(_) => {
                let metadata = fs::metadata(path)
                    .map_err(|source| Failure::Input { origin: origin.clone(), source })?;
                if metadata.is_dir() {
                    return Err(Failure::InputIsDirectory { path: path.clone() });
                }
                let len = metadata.is_file().then_some(metadata.len());
                if len.is_some() && split == (Split::Lines { binary: false }) {
                    look(&origin)?;
                }
                Ok(Input { origin, len })
            }
        })
        .collect()
}

/// Looks at the beginning of a file, so that one that is not text stops the command before it has
/// begun.
fn look(origin: &Origin) -> Result<(), Failure> {
    let mut beginning = Vec::new();
    origin
        .open()?
        .take(READ_LEN as u64)
        .read_to_end(&mut beginning)
        .map_err(|source| Failure::Input { origin: origin.clone(), source })?;
    let Some(place) = memchr::memchr(0, &beginning) else { return Ok(()) };
    Err(nul_in_line(&beginning, place, &Lines::new(b'\n', usize::MAX), origin))
}

/// Whether a person types the input.
pub(super) fn is_typed(inputs: &[Input]) -> bool {
    io::stdin().is_terminal() && inputs.iter().any(|input| matches!(input.origin, Origin::Stdin))
}

/// The bytes of all inputs together, if they are known.
pub(super) fn total_len(inputs: &[Input]) -> Option<u64> {
    inputs.iter().map(|input| input.len).sum()
}

/// Reads all inputs in order and sends what they hold; ends with [`Event::End`] or
/// [`Event::Failed`].
pub(super) fn read(inputs: Vec<Input>, split: Split, len_max: usize, events: &SyncSender<Event>) {
    let outcome = inputs.into_iter().try_for_each(|input| match split {
        Split::Lines { binary } => lines(&input.origin, b'\n', !binary, len_max, events),
        Split::Nul => lines(&input.origin, 0, false, len_max, events),
        Split::Whole => whole(&input, len_max, events),
    });
    let last = match outcome {
        Ok(()) => Event::End,
        Err(Stop::Failed(failure)) => Event::Failed(failure),
        Err(Stop::Unwanted) => return,
    };
    // If nobody listens any more, nobody wants to know.
    let _ = events.send(last);
}

fn lines(
    origin: &Origin,
    end: u8,
    is_text: bool,
    len_max: usize,
    events: &SyncSender<Event>,
) -> Result<(), Stop> {
    LineReader { origin, end, is_text, len_max }.each(|part| {
        let Part { lines: bodies, skipped, bytes } = part;
        send(Batch { bodies, skipped, bytes }, events)
    })
}

fn whole(input: &Input, len_max: usize, events: &SyncSender<Event>) -> Result<(), Stop> {
    let origin = &input.origin;
    let too_long = || Failure::InputTooLong { origin: origin.clone(), limit: len_max };
    let limit = len_max as u64;
    if input.len.is_some_and(|len| len > limit) {
        return Err(too_long().into());
    }
    let mut body = Vec::new();
    // What is no regular file has no length to ask for, and a file may have grown.
    origin
        .open()?
        .take(limit.saturating_add(1))
        .read_to_end(&mut body)
        .map_err(|source| Failure::Input { origin: origin.clone(), source })?;
    if body.len() > len_max {
        return Err(too_long().into());
    }
    let bytes = body.len() as u64;
    send(Batch { bodies: vec![body], skipped: 0, bytes }, events)
}

fn send(batch: Batch, events: &SyncSender<Event>) -> Result<(), Stop> {
    if batch.bodies.is_empty() && batch.skipped == 0 && batch.bytes == 0 {
        return Ok(());
    }
    events.send(Event::Batch(batch)).map_err(|_| Stop::Unwanted)
}
