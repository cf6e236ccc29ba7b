//! One measure: contenders that take turns, goals, and what came out.

use crate::Failure;
use crate::measure::Measure;
use crate::setting::Setting;

/// What a contender is to the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// This product.
    Ours,
    /// A published crate, on the same work.
    Peer,
    /// The least that any implementation must do: the same bytes, the same hashes, nothing else.
    Limit,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
            Self::Limit => "limit",
        }
    }
}

/// Figures of one turn: metric (its unit in the name) and value.
pub(crate) type Sample = Vec<(&'static str, f64)>;

type Turn = Box<dyn FnMut() -> Result<Sample, Failure>>;

/// What a figure is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    /// At least so many times the metric of another contender (both by name).
    TimesAtLeast(f64, &'static str, &'static str),
    TimesAtMost(f64, &'static str, &'static str),
}

/// One line of what the product asks of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) asked: &'static str,
    pub(crate) contender: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) bar: Bar,
}

/// Contenders and goals, ready to run.
pub(crate) struct Contest {
    rounds: usize,
    notes: Vec<String>,
    contenders: Vec<(&'static str, Role, Turn)>,
    goals: Vec<Goal>,
}

impl Contest {
    /// `rounds` are the usual ones; a quick run makes fewer.
    pub(crate) fn new(rounds: usize) -> Self {
        Self { rounds, notes: Vec::new(), contenders: Vec::new(), goals: Vec::new() }
    }

    /// What a reader must know to judge the figures.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn add(
        &mut self,
        name: &'static str,
        role: Role,
        turn: impl FnMut() -> Result<Sample, Failure> + 'static,
    ) {
        self.contenders.push((name, role, Box::new(turn)));
    }

    pub(crate) fn goal(
        &mut self,
        asked: &'static str,
        contender: &'static str,
        metric: &'static str,
        bar: Bar,
    ) {
        self.goals.push(Goal { asked, contender, metric, bar });
    }

    /// Runs all rounds. Each starts with another contender, so that none is always first on a
    /// rested disk or last on a tired one.
    pub(crate) fn run(mut self, measure: &'static Measure, setting: &Setting) -> Outcome {
        let rounds = setting.rounds(self.rounds);
        let mut entries: Vec<Entry> = self
            .contenders
            .iter()
            .map(|&(name, role, _)| Entry { name, role, samples: Vec::new(), failure: None })
            .collect();
        let count = self.contenders.len();
        for round in 0..rounds {
            for turn in 0..count {
                let at = (round + turn) % count;
                let (name, _, run) = &mut self.contenders[at];
                progress(&format!("round {}/{rounds}: {name}", round + 1));
                match run() {
                    Ok(sample) => entries[at].samples.push(Some(sample)),
                    Err(failure) => {
                        progress("");
                        eprintln!("   {name}: {failure}");
                        entries[at].samples.push(None);
                        entries[at].failure = Some(failure.to_string());
                    }
                }
            }
        }
        progress("");
        Outcome { measure, rounds, notes: self.notes, entries, goals: self.goals }
    }
}

/// Shows on a terminal what is running, over what was shown before.
fn progress(what: &str) {
    use std::io::IsTerminal;
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K   {what}");
    }
}

/// A contender's figures, by round.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) failure: Option<String>,
    samples: Vec<Option<Sample>>,
}

impl Entry {
    /// The metrics that any round gave, in their first order.
    pub(crate) fn metrics(&self) -> Vec<&'static str> {
        let mut metrics = Vec::new();
        for &(metric, _) in self.samples.iter().flatten().flatten() {
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
        metrics
    }

    /// The values of `metric`, one a round; none where the round failed.
    fn by_round(&self, metric: &str) -> Vec<Option<f64>> {
        let value = |sample: &Sample| {
            sample.iter().find_map(|&(name, value)| (name == metric).then_some(value))
        };
        self.samples.iter().map(|sample| sample.as_ref().and_then(value)).collect()
    }

    pub(crate) fn spread(&self, metric: &str) -> Option<Spread> {
        Spread::of(self.by_round(metric).into_iter().flatten().collect())
    }
}

/// Median, least and largest of the rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }
}

/// All figures of one measure.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) measure: &'static Measure,
    pub(crate) rounds: usize,
    pub(crate) notes: Vec<String>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) goals: Vec<Goal>,
}

/// A goal beside what was measured.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) measured: Spread,
    /// Ratio of the medians and median of the rounds' ratios, if the goal names a contender.
    pub(crate) ratios: Option<(f64, f64)>,
    pub(crate) reached: bool,
}

impl Outcome {
    fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Judges `goal`; none if a figure that it needs was not measured.
    pub(crate) fn verdict(&self, goal: &Goal) -> Option<Verdict> {
        let entry = self.entry(goal.contender)?;
        let measured = entry.spread(goal.metric)?;
        let ratios = |name: &str, metric: &str| {
            let other = self.entry(name)?;
            let paired = Spread::of(
                entry
                    .by_round(goal.metric)
                    .into_iter()
                    .zip(other.by_round(metric))
                    .filter_map(|(mine, theirs)| Some(mine? / theirs?))
                    .collect(),
            )?;
            Some((measured.median / other.spread(metric)?.median, paired.median))
        };
        Some(match goal.bar {
            Bar::AtLeast(bar) => {
                Verdict { measured, ratios: None, reached: measured.median >= bar }
            }
            Bar::AtMost(bar) => Verdict { measured, ratios: None, reached: measured.median <= bar },
            Bar::TimesAtLeast(times, name, metric) => {
                let ratios = ratios(name, metric)?;
                Verdict { measured, ratios: Some(ratios), reached: ratios.0 >= times }
            }
            Bar::TimesAtMost(times, name, metric) => {
                let ratios = ratios(name, metric)?;
                Verdict { measured, ratios: Some(ratios), reached: ratios.0 <= times }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_the_middle() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 3.0, 9.0));
        assert!(Spread::of(Vec::new()).is_none());
    }
}
