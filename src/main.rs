//! The `stemedb` binary: one command line over one store.

mod cli;

use std::{panic::catch_unwind, process::ExitCode};

fn main() -> ExitCode {
    // The message was printed. It is a fault of the program, and its own code says so.
    catch_unwind(cli::run).unwrap_or_else(|_| cli::INTERNAL.into())
}
