//! The results as a page of the project's documentation.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Failure;
use crate::contest::Outcome;
use crate::machine::Machine;
use crate::table;

/// What is written by hand, and survives every regeneration.
const NOTES: &str = include_str!("../notes.md");

/// Writes the page.
pub(crate) fn write(
    path: &Path,
    machine: &Machine,
    quick: bool,
    outcomes: &[Outcome],
) -> Result<(), Failure> {
    fs::write(path, page(machine, quick, outcomes)?)?;
    Ok(())
}

fn page(machine: &Machine, quick: bool, outcomes: &[Outcome]) -> Result<String, Failure> {
    let mut page = String::new();
    writeln!(
        page,
        "# Benchmarks\n\n\
         Written by `cargo run --release -- run --write ../docs/benchmarks.md` in `benches/`; the \
         section at the end is `benches/notes.md`. Contenders take turns in one process, several \
         rounds, each round begins with another of them; figures are medians with least and \
         largest. A *ratio* is that of the medians, in brackets the median of the rounds' own \
         ratios. *Peers* are published crates on the same work; a *limit* is the same bytes or \
         hashes with nothing around them.\n"
    )?;
    if quick {
        writeln!(page, "**A quick run: a tenth of the sizes. These figures prove nothing.**\n")?;
    }
    writeln!(page, "| | |\n|---|---|")?;
    for line in machine.to_string().lines() {
        if let Some((key, value)) = line.split_once("  ") {
            writeln!(page, "| {key} | {} |", value.trim())?;
        }
    }
    writeln!(page, "\n## Goals\n")?;
    writeln!(page, "| measure | asked | measured | ratio | reached |\n|---|---|---|---|---|")?;
    for outcome in outcomes {
        for goal in &outcome.goals {
            let name = outcome.measure.name;
            let asked = goal.asked;
            match outcome.verdict(goal) {
                None => writeln!(page, "| [{name}](#{name}) | {asked} | not measured | | |")?,
                Some(verdict) => {
                    let measured = table::spread(verdict.measured);
                    let ratio = verdict.ratios.map_or_else(String::new, |(medians, paired)| {
                        format!("{medians:.2} ({paired:.2})")
                    });
                    let reached = if verdict.reached { "yes" } else { "**no**" };
                    let metric = goal.metric;
                    writeln!(
                        page,
                        "| [{name}](#{name}) | {asked} | {measured} {metric} | {ratio} \
                         | {reached} |"
                    )?;
                }
            }
        }
    }
    writeln!(page, "\n## Figures")?;
    for outcome in outcomes {
        figures(&mut page, outcome)?;
    }
    writeln!(page, "\n{}", NOTES.trim_end())?;
    Ok(page)
}

fn figures(page: &mut String, outcome: &Outcome) -> Result<(), Failure> {
    let rounds = outcome.rounds;
    writeln!(
        page,
        "\n### {}\n\n{}; rounds: {rounds}.\n",
        outcome.measure.name, outcome.measure.about
    )?;
    writeln!(page, "| | contender | metric | median (least to largest) |\n|---|---|---|---|")?;
    for entry in &outcome.entries {
        for metric in entry.metrics() {
            if let Some(found) = entry.spread(metric) {
                let (role, name) = (entry.role.name(), entry.name);
                writeln!(page, "| {role} | {name} | {metric} | {} |", table::spread(found))?;
            }
        }
        if let Some(failure) = &entry.failure {
            let (role, name) = (entry.role.name(), entry.name);
            writeln!(page, "| {role} | {name} | failed | {failure} |")?;
        }
    }
    if !outcome.notes.is_empty() {
        writeln!(page, "\n{}", outcome.notes.join("\n\n"))?;
    }
    Ok(())
}
