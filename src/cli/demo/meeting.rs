//! The step that compares two stores and copies only what is missing.

use std::path::Path;

use serde::Serialize;
use stemedb::{AssertionId, Options, Store};

use super::lines::Lines;
use super::narrator::Narrator;
use crate::cli::failure::Failure;
use crate::cli::format::grouped;
use crate::cli::input::to_hex;
use crate::cli::open;
use crate::cli::stopwatch::Stopwatch;

/// The second store misses one line in so many.
const MISSED_EVERY: usize = 97;

#[derive(Serialize)]
pub(super) struct Facts {
    only_first: usize,
    only_second: usize,
    visited: u64,
    compared_ms: f64,
    copied: usize,
    roots_equal: bool,
}

pub(super) fn show(
    first: &Store,
    dir: &Path,
    lines: &Lines,
    narrator: &mut Narrator,
) -> Result<Facts, Failure> {
    let second = open::open(dir, Options::default())?;
    // In the other order, to show that order does not matter.
    let kept = lines.bodies.iter().enumerate().rev().filter(|(n, _)| n % MISSED_EVERY != 0);
    second.append_batch(kept.map(|(_, body)| body))?;
    second.append_batch(["only the second knows this", "and this", "and that"])?;

    narrator.step("Meet", "a second store took most lines in, in reverse, and some of its own")?;
    let watch = Stopwatch::start();
    let diff = first.snapshot()?.diff(&second.snapshot()?)?;
    let ms = watch.millis();
    let (here, there) = (diff.only_here.len(), diff.only_there.len());
    narrator.row("only first", &grouped(here as u64))?;
    narrator.row("only second", &grouped(there as u64))?;
    narrator
        .row("compared in", &format!("{ms:.1} ms, {} tree nodes visited", grouped(diff.visited)))?;

    narrator.step("Copy", "only what is missing, both ways")?;
    copy(&diff.only_here, first, &second)?;
    copy(&diff.only_there, &second, first)?;
    let roots = (first.root()?, second.root()?);
    second.close()?;
    narrator.row("copied", &grouped((here + there) as u64))?;
    narrator.row("first root", &to_hex(roots.0))?;
    narrator.row("second root", &to_hex(roots.1))?;
    if roots.0 != roots.1 {
        return Err(Failure::Demo { what: "the roots of two equal stores differ" });
    }
    narrator.say("Equal roots: the two hold the same, and either can prove it.")?;
    Ok(Facts {
        only_first: here,
        only_second: there,
        visited: diff.visited,
        compared_ms: ms,
        copied: here + there,
        roots_equal: roots.0 == roots.1,
    })
}

fn copy(ids: &[AssertionId], from: &Store, to: &Store) -> Result<(), Failure> {
    let mut bodies = Vec::with_capacity(ids.len());
    for id in ids {
        let missing = Failure::Demo { what: "a store does not give what it says it holds" };
        bodies.push(from.get(id)?.ok_or(missing)?);
    }
    to.append_batch(bodies)?;
    Ok(())
}
