//! The story on the terminal, and the facts of it for JSON.

use std::io::{self, IsTerminal, Write};

use indicatif::HumanCount;
use serde_json::{Map, Value};

use crate::cli::failure::{Failure, OutputError};
use crate::cli::output;

/// The width of the names of facts.
const NAME_WIDTH: usize = 14;

/// Tells the story on standard output, or beside it where JSON is asked for.
pub(super) struct Teller {
    facts: Option<Map<String, Value>>,
    terminal: bool,
    steps: u32,
}

impl Teller {
    pub(super) fn new(as_json: bool) -> Self {
        let terminal =
            if as_json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        Self { facts: as_json.then(Map::new), terminal, steps: 0 }
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &str, what: &str) -> Result<(), Failure> {
        self.steps += 1;
        let gap = if self.steps == 1 { "" } else { "\n" };
        let title = output::heading(&format!("{}. {title}", self.steps), self.terminal);
        let colon = if what.is_empty() { "" } else { ": " };
        self.write(&format!("{gap}{title}{colon}{what}"))
    }

    /// A fact of this step.
    pub(super) fn row(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        self.write(&format!("   {name:<NAME_WIDTH$}{value}"))
    }

    /// A sentence.
    pub(super) fn say(&mut self, sentence: &str) -> Result<(), Failure> {
        self.write(&format!("   {sentence}"))
    }

    /// Something for the JSON object.
    pub(super) fn fact(&mut self, name: &str, value: Value) {
        if let Some(facts) = &mut self.facts {
            facts.insert(name.to_owned(), value);
        }
    }

    /// Prints the JSON object, if one is asked for.
    pub(super) fn finish(self) -> Result<(), Failure> {
        self.facts.map_or(Ok(()), |facts| output::json(&facts))
    }

    fn write(&self, line: &str) -> Result<(), Failure> {
        if self.facts.is_some() {
            output::aside(&format!("{line}\n"));
            return Ok(());
        }
        // Line by line: the story is to be read while it happens.
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").map_err(OutputError)?;
        out.flush().map_err(OutputError)?;
        Ok(())
    }
}

/// A count with its thousands apart.
pub(super) fn count(count: impl TryInto<u64>) -> String {
    HumanCount(count.try_into().unwrap_or(u64::MAX)).to_string()
}
