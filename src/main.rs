//! The `stemedb` binary: one command line over one store.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
