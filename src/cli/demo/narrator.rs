//! The story on the terminal, and its facts as JSON.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::cli::failure::{Failure, OutputError};
use crate::cli::output;

/// The width of the names of facts.
const NAME_WIDTH: usize = 14;

/// Tells the story on standard output, or beside it where JSON is asked for.
pub(super) struct Narrator {
    as_json: bool,
    terminal: bool,
    steps: u32,
}

impl Narrator {
    pub(super) fn new(as_json: bool) -> Self {
        let terminal =
            if as_json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        Self { as_json, terminal, steps: 0 }
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

    /// Prints the facts, if JSON is asked for.
    pub(super) fn finish(self, facts: &impl Serialize) -> Result<(), Failure> {
        if self.as_json { output::json(facts) } else { Ok(()) }
    }

    fn write(&self, line: &str) -> Result<(), Failure> {
        if self.as_json {
            output::stderr(&format!("{line}\n"));
            return Ok(());
        }
        // Line by line: the story is to be read while it happens.
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").map_err(OutputError)?;
        out.flush().map_err(OutputError)?;
        Ok(())
    }
}
