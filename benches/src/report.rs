//! The results as a page of the project's documentation.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Failure;
use crate::contest::Outcome;
use crate::machine::Machine;
use crate::measure::{self, growth};
use crate::plot;
use crate::table;

/// The plot of what everything costs as a store grows, beside the page.
const PLOT: &str = "growth.svg";

/// What is written by hand, and survives every regeneration.
const NOTES: &str = include_str!("../notes.md");

/// Writes the page. Measures that did not run keep what the page says of them already.
pub(crate) fn write(
    path: &Path,
    machine: &Machine,
    quick: bool,
    outcomes: &[Outcome],
) -> Result<(), Failure> {
    let kept = Kept::read(path);
    fs::write(path, page(machine, quick, outcomes, &kept)?)?;
    for outcome in outcomes.iter().filter(|outcome| outcome.measure.name == growth::NAME) {
        plot::write(&path.with_file_name(PLOT), outcome)?;
    }
    Ok(())
}

fn page(
    machine: &Machine,
    quick: bool,
    outcomes: &[Outcome],
    kept: &Kept,
) -> Result<String, Failure> {
    let mut page = String::new();
    writeln!(
        page,
        "# Benchmarks\n\n\
         Written by `cargo run --release -- run --write ../docs/benchmarks.md` in `benches/`; the \
         section at the end is `benches/notes.md`. Contenders take turns in one process, several \
         rounds, each round begins with another of them; figures are medians with least and \
         largest. A *ratio* is that of the medians, in brackets the median of the rounds' own \
         ratios. *Peers* are published crates on the same work; a *limit* is the same bytes or \
         hashes with nothing around them. Measures can run by themselves: each section has the \
         date of its run.\n"
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
    for measure in measure::ALL {
        match outcomes.iter().find(|outcome| outcome.measure.name == measure.name) {
            Some(outcome) => goals(&mut page, outcome)?,
            None => page.push_str(&kept.goals(measure.name)),
        }
    }
    writeln!(page, "\n## Figures")?;
    for measure in measure::ALL {
        match outcomes.iter().find(|outcome| outcome.measure.name == measure.name) {
            Some(outcome) => figures(&mut page, outcome, &machine.date)?,
            None => page.push_str(&kept.figures(measure.name)),
        }
    }
    writeln!(page, "\n{}", NOTES.trim_end())?;
    Ok(page)
}

fn goals(page: &mut String, outcome: &Outcome) -> Result<(), Failure> {
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
    Ok(())
}

fn figures(page: &mut String, outcome: &Outcome, date: &str) -> Result<(), Failure> {
    let rounds = outcome.rounds;
    writeln!(
        page,
        "\n### {}\n\n{}; rounds: {rounds}; {date}.\n",
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
    if outcome.measure.name == growth::NAME {
        writeln!(page, "\n![Each cost, in that at 1 M, against the size of the store]({PLOT})")?;
        page.push_str(&plot::on_paper(outcome));
    }
    if !outcome.notes.is_empty() {
        writeln!(page, "\n{}", outcome.notes.join("\n\n"))?;
    }
    Ok(())
}

/// A page as it was before.
#[derive(Debug, Default)]
struct Kept {
    page: String,
    date: Option<String>,
}

impl Kept {
    /// Reads the page; what is not there can't be kept.
    fn read(path: &Path) -> Self {
        let page = fs::read_to_string(path).unwrap_or_default();
        let date = page.lines().find_map(|line| line.strip_prefix("| date | ")?.strip_suffix(" |"));
        let date = date.map(str::to_owned);
        Self { page, date }
    }

    /// The rows of a measure's goals.
    fn goals(&self, name: &str) -> String {
        let row = format!("| [{name}](#{name}) |");
        let rows = self.page.lines().filter(|line| line.starts_with(&row));
        rows.flat_map(|line| [line, "\n"]).collect()
    }

    /// The section of a measure's figures, with the date that they are of.
    fn figures(&self, name: &str) -> String {
        let head = format!("\n### {name}\n");
        let Some(section) = self.page.split_once(&head).map(|(_, rest)| rest) else {
            return String::new();
        };
        let ends = ["\n### ", "\n## "].into_iter().filter_map(|end| section.find(end)).min();
        let section = section.get(..ends.unwrap_or(section.len())).unwrap_or_default();
        let mut section = format!("{head}{section}");
        if let (Some(date), Some(at)) = (&self.date, section.find("; rounds: ")) {
            let line = section.get(at..).and_then(|rest| rest.lines().next()).unwrap_or_default();
            if !line.contains("UTC") {
                let dated = format!("{}; {date}.", line.trim_end_matches('.'));
                section = section.replacen(line, &dated, 1);
            }
        }
        section
    }
}
