//! `stemedb completions`: what a shell needs to complete commands.

use clap_complete::Shell;

use super::failure::Failure;
use super::{command, output};

/// Print a script that teaches a shell to complete the commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb completions bash > ~/.local/share/bash-completion/completions/stemedb
  stemedb completions fish > ~/.config/fish/completions/stemedb.fish
  stemedb completions zsh > \"${fpath[1]}/_stemedb\"")]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "stemedb", &mut script);
    output::raw(&script)
}
