//! Figures and goals as text, for the terminal.

use std::fmt::{self, Display, Formatter};

use crate::contest::{Outcome, Spread};

/// A figure with as many digits as it deserves: 266,012 or 1.23 or 0.092.
pub(crate) fn figure(value: f64) -> String {
    if value.abs() < 10.0 {
        let text = format!("{value:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if value.abs() < 1000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `median (min to max)`.
pub(crate) fn spread(spread: Spread) -> String {
    if spread.min.total_cmp(&spread.max).is_eq() {
        return figure(spread.median);
    }
    format!("{} ({} to {})", figure(spread.median), figure(spread.min), figure(spread.max))
}

/// The figures of one measure.
pub(crate) struct Figures<'a>(pub(crate) &'a Outcome);

impl Display for Figures<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let outcome = self.0;
        writeln!(f, "\n{} ({} rounds, median, min to max)", outcome.measure.about, outcome.rounds)?;
        for entry in &outcome.entries {
            for metric in entry.metrics() {
                if let Some(found) = entry.spread(metric) {
                    let name = entry.name;
                    writeln!(
                        f,
                        "  {:<5} {name:<42} {metric:<22} {}",
                        entry.role.name(),
                        spread(found)
                    )?;
                }
            }
            if let Some(failure) = &entry.failure {
                writeln!(f, "  {:<5} {:<42} failed: {failure}", entry.role.name(), entry.name)?;
            }
        }
        outcome.notes.iter().try_for_each(|note| writeln!(f, "  note: {note}"))
    }
}

/// All goals.
pub(crate) struct Goals<'a>(pub(crate) &'a [Outcome]);

impl Display for Goals<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\ngoals")?;
        for outcome in self.0 {
            for goal in &outcome.goals {
                write!(f, "  {:<20} {:<62} ", outcome.measure.name, goal.asked)?;
                match outcome.verdict(goal) {
                    None => writeln!(f, "not measured")?,
                    Some(verdict) => {
                        let reached = if verdict.reached { "reached" } else { "NOT REACHED" };
                        write!(
                            f,
                            "{reached:<11} {} {}",
                            figure(verdict.measured.median),
                            goal.metric
                        )?;
                        match verdict.ratios {
                            Some((medians, paired)) => {
                                writeln!(f, ", {medians:.2} times (paired {paired:.2})")?;
                            }
                            None => writeln!(f)?,
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_read_well() {
        for (value, text) in [
            (0.0, "0"),
            (0.092, "0.092"),
            (1.5, "1.5"),
            (58.25, "58.2"),
            (1000.0, "1,000"),
            (266_012.4, "266,012"),
            (1_234_567.0, "1,234,567"),
        ] {
            assert_eq!(figure(value), text);
        }
    }
}
